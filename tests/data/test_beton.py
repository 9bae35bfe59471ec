""".beton files: written files are read back by raykd and by FFCV; damage is named."""

import json
import multiprocessing
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.contract import Placement
from raykd.data.config import Encoding
from raykd.data.examples import Examples, Splits, from_arrays
from raykd.data.loader import TrainLoader
from raykd.data.storage import beton
from raykd.data.storage.header import Header
from raykd.data.storage.prepare import prepare
from tests.support.toy import Toy, photograph


def write(path: Path, examples: Examples, skip_corrupt=False, **encoding) -> beton.WrittenSplit:
    return beton.write(path, examples, Encoding(**encoding), skip_corrupt=skip_corrupt)


IMAGES = [photograph(i, 20 + i % 3, 30 + i % 5) for i in range(40)]


READ_BY_FFCV = """
import sys
import numpy as np
from ffcv.fields.rgb_image import CenterCropRGBImageDecoder
from ffcv.loader import Loader
from ffcv.reader import Reader
reader = Reader(sys.argv[1])
assert reader.field_names == ["image", "label"] and reader.num_samples == 40
assert len(reader.alloc_table) == 40
pipelines = {"image": [CenterCropRGBImageDecoder((24, 24), 1.0)]}
images, labels = next(iter(Loader(sys.argv[1], batch_size=40, num_workers=1, pipelines=pipelines)))
raw = reader.metadata["f0"]["mode"] == 1
np.savez(sys.argv[2], images=np.asarray(images), labels=np.asarray(labels).flatten(), raw=raw)
"""


@pytest.mark.parametrize("mode", ["raw", "jpeg", "proportion"])
def test_ffcvs_loader_reads_our_files(tmp_path, mode):
    """In its own process, since FFCV's loader changes numba's type of byte arrays for all later code."""
    same = [photograph(i, 24, 24) for i in range(40)]
    write(tmp_path / "x.beton", from_arrays(same, [i % 3 for i in range(40)], "x"), mode=mode, quality=95)
    subprocess.run([sys.executable, "-c", READ_BY_FFCV, tmp_path / "x.beton", tmp_path / "read.npz"], check=True)
    with np.load(tmp_path / "read.npz") as read:
        images, labels, raw = read["images"], read["labels"], read["raw"]
    assert labels.tolist() == [i % 3 for i in range(40)]
    error = np.abs(images.astype(int) - np.stack(same))
    assert (error[raw] == 0).all() and error.mean() < 4
    assert {"raw": raw.all(), "jpeg": not raw.any(), "proportion": 8 < raw.sum() < 32}[mode]


def test_smart_mode_and_max_resolution_are_applied(tmp_path):
    images = [photograph(0, 64, 64), photograph(1, 65, 64), photograph(2, 100, 400)]
    write(tmp_path / "x.beton", from_arrays(images, [0, 1, 2], "x"), max_resolution=200)
    header = Header(tmp_path / "x.beton")
    assert header.jpeg.tolist() == [False, True, True]
    assert header.shapes.tolist() == [[64, 64], [65, 64], [50, 200]]


def test_images_never_cross_pages(tmp_path):
    big = [np.full((1500, 1500, 3), i, np.uint8) for i in range(3)]  # 6.75 MB each, pages have 8 MiB
    write(tmp_path / "x.beton", from_arrays(big, [0, 1, 2], "x"), mode="raw")
    header = Header(tmp_path / "x.beton")
    assert (header.offsets // beton.PAGE == (header.offsets + header.sizes - 1) // beton.PAGE).all()
    assert len(set(header.offsets // beton.PAGE)) == 3


def broken(position: int) -> np.ndarray:
    if position in (5, 17):
        raise OSError("image file is truncated")
    return IMAGES[position]


def test_corrupt_images_raise_or_are_skipped(tmp_path):
    examples = Examples([i % 3 for i in range(40)], broken, lambda i: f"pictures/{i}.jpg")
    with pytest.raises(UserError, match=r"pictures/5\.jpg can't be read: image file is truncated"):
        write(tmp_path / "x.beton", examples)
    skipped = write(tmp_path / "x.beton", examples, skip_corrupt=True, mode="raw").skipped
    assert [line.split(" ")[0] for line in skipped] == ["pictures/5.jpg", "pictures/17.jpg"]
    header = Header(tmp_path / "x.beton")
    kept = [i for i in range(40) if i not in (5, 17)]
    assert header.labels.tolist() == [i % 3 for i in kept]
    assert header.shapes.tolist() == [list(IMAGES[i].shape[:2]) for i in kept]


@pytest.mark.parametrize(
    ("image", "message"),
    [(np.zeros(4, np.uint8), r"uint8 \[4\]"), (np.zeros((4, 4, 5), np.uint8), r"uint8 \[4, 4, 5\]")],
)
def test_wrong_channels_are_named(tmp_path, image, message):
    with pytest.raises(UserError, match=rf"x, image 0 can't be read: not an image \[H, W, 3\] but {message}"):
        write(tmp_path / "x.beton", from_arrays([image], [0], "x"))


def test_out_of_range_labels_are_named(toy):
    @dataclass(frozen=True, kw_only=True)
    class Mislabelled(Toy):
        def open(self, root: Path, download: bool) -> Splits:
            return super().open(root, download)._replace(train=from_arrays(IMAGES[:2], [0, 3], "x"))

    with pytest.raises(UserError, match="x, image 1 has label 3: labels must be 0 to 2"):
        prepare(toy(source=Mislabelled()))


def load(data):
    return TrainLoader(data, prepare(data), Placement(torch.device("cpu"), 1), batch_size=4, seed=0)


def test_files_are_written_once_and_keep_class_names(toy):
    data = toy()
    first = prepare(data)
    stamp = first.train.stat().st_mtime_ns
    assert prepare(data) == first and first.train.stat().st_mtime_ns == stamp
    assert (first.classes, first.train_size, first.test_size) == (("a", "b", "c"), 30, 11)
    manifest = json.loads((first.train.parent / "manifest.json").read_text())
    assert manifest["classes"] == ["a", "b", "c"] and manifest["train"]["samples"] == 30
    assert manifest["source"]["height"] == 16 and manifest["encoding"]["mode"] == "raw"
    assert [path.name for path in first.train.parent.iterdir() if "part" in path.name] == []


def test_different_settings_have_different_files(toy):
    assert prepare(toy()).train != prepare(toy(encoding=Encoding(mode="jpeg"))).train
    assert prepare(toy()).train != prepare(toy(source=Toy(height=17))).train


@dataclass(frozen=True, kw_only=True)
class Counted(Toy):
    """Notes each opening in a file."""

    log: str

    def open(self, root: Path, download: bool) -> Splits:
        with Path(self.log).open("a") as file:
            file.write("opened\n")
        return super().open(root, download)


def test_concurrent_processes_write_once(toy, tmp_path):
    data = toy(source=Counted(log=str(tmp_path / "log"), train=300))
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=prepare, args=(data,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert (tmp_path / "log").read_text() == "opened\n"


def test_damaged_files_are_named(toy):
    data = toy()
    path = prepare(data).train
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=r"train\.beton has \d+ bytes instead of \d+ \(truncated, or another file\)"):
        prepare(data)
    path.write_bytes(b"\x03\x00" + whole[2:])
    with pytest.raises(UserError, match=r"train\.beton is not a \.beton file of version 2"):
        load(data)
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(UserError, match=r"train\.beton is not a \.beton file"):
        load(data)
    path.unlink()
    with pytest.raises(UserError, match=r"train\.beton is missing"):
        prepare(data)


def test_a_truncated_file_without_its_manifest_is_named(tmp_path):
    write(tmp_path / "x.beton", from_arrays(IMAGES, [0] * 40, "x"))
    whole = (tmp_path / "x.beton").read_bytes()
    (tmp_path / "x.beton").write_bytes(whole[: len(whole) - 30])
    with pytest.raises(UserError, match=r"x\.beton is truncated"):
        Header(tmp_path / "x.beton")


def test_an_empty_file_is_named(tmp_path):
    write(tmp_path / "x.beton", from_arrays(IMAGES, [0] * 40, "x"))
    whole = (tmp_path / "x.beton").read_bytes()
    (tmp_path / "x.beton").write_bytes(whole[:8] + bytes(8) + whole[16:])
    with pytest.raises(UserError, match=r"x\.beton contains no images"):
        Header(tmp_path / "x.beton")


def test_stale_and_damaged_manifests_are_named(toy):
    data = toy()
    path = prepare(data).train.parent / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"format": 0}))
    with pytest.raises(UserError, match=r"toy-[\w-]+ was written with other settings \(format\)"):
        prepare(data)
    path.write_text(json.dumps(manifest | {"encoding": manifest["encoding"] | {"quality": 1}}))
    with pytest.raises(UserError, match=r"was written with other settings \(encoding\)"):
        prepare(data)
    path.write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        prepare(data)


@pytest.mark.parametrize(
    "change",
    [{"samples": 1e308}, {"samples": -1}, {"samples": "30"}, {"sides": [16]}, {"std": [0, 1, 1]}, {"bytes": None}],
)
def test_impossible_values_in_a_manifest_are_named(toy, change):
    data = toy()
    path = prepare(data).train.parent / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"train": manifest["train"] | change}))
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        prepare(data)


def test_out_of_range_labels_in_a_file_are_named(toy):
    data = toy()
    prepared = replace(prepare(data), classes=("a", "b"))
    with pytest.raises(UserError, match=r"train\.beton has labels outside 0 to 1"):
        TrainLoader(data, prepared, Placement(torch.device("cpu"), 1), batch_size=4, seed=0)


def test_an_unwritable_root_is_named(toy, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="data.root"):
        prepare(toy(root=str(tmp_path / "file" / "below")))


def test_a_failed_write_leaves_no_files(toy, tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Broken(Toy):
        def open(self, root: Path, download: bool) -> Splits:
            whole = super().open(root, download)
            return whole._replace(test=Examples(whole.test.labels, broken, str))

    with pytest.raises(UserError, match="5 can't be read"):
        prepare(toy(source=Broken()))
    assert [path.name for path in tmp_path.rglob(".*.tmp*")] == []
    assert list(tmp_path.rglob("manifest.json")) == []

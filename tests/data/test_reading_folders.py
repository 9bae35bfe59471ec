"""Which files of a folder are read, what counts as a label, and when prepared files are valid."""

import fcntl
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sources import save

from raykd import UserError
from raykd.contract import Placement
from raykd.data import sources as s
from raykd.data.config import Data, Encoding
from raykd.data.reading.labels import number_labels
from raykd.data.reading.listing import Skipped, content_digest, find_images, subfolders
from raykd.data.storage.prepare import prepare


def names(paths, base):
    return [str(path.relative_to(base)) for path in paths]


def test_links_are_followed_without_cycles(tmp_path):
    base = tmp_path / "a"
    save(base / "1.jpg", 1)
    save(tmp_path / "more" / "2.JFIF", 2)
    save(tmp_path / "one.tif", 3)
    os.symlink(tmp_path / "more", base / "linked")
    os.symlink("../one.tif", base / "3.tif")
    os.symlink("..", base / "up")
    os.symlink("../..", base / "further-up")
    os.symlink(".", base / "here")
    os.symlink("../more", tmp_path / "more" / "again")
    left = Skipped(base)
    assert names(find_images(base, left), base) == ["1.jpg", "3.tif", "linked/2.JFIF"]
    assert left.counts == {"links to a folder that they lie in": 4}


def test_skipped_files_are_counted_and_never_opened(tmp_path):
    save(tmp_path / "1.png", 1)
    save(tmp_path / ".hidden.png", 1)
    save(tmp_path / ".thumbnails" / "1.png", 1)
    save(tmp_path / "__MACOSX" / "1.png", 1)
    save(tmp_path / "z.png" / "deep.png", 1)  # a folder, whatever its name
    os.mkfifo(tmp_path / "pipe.jpg")
    os.symlink("/dev/zero", tmp_path / "endless.png")
    os.symlink("/nowhere.jpg", tmp_path / "gone.jpg")
    os.symlink("self.jpg", tmp_path / "self.jpg")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "README").write_text("")
    left = Skipped(tmp_path)
    assert names(find_images(tmp_path, left), tmp_path) == ["1.png", "z.png/deep.png"]
    (note,) = left.notes()
    for part in ("3 hidden", "2 pipes or devices", "2 broken links", "1 with suffix .txt", "1 without a suffix"):
        assert part in note


def test_classes_are_folders_and_other_entries_are_counted(tmp_path):
    for name in ("cat", "dog", ".git", "__MACOSX"):
        save(tmp_path / name / "1.png", 1)
    save(tmp_path / "loose.png", 1)
    os.symlink("cat", tmp_path / "tiger")
    left = Skipped(tmp_path)
    assert subfolders(tmp_path, left) == ("cat", "dog", "tiger")
    assert left.counts == {"hidden": 2, "images outside the class folders": 1}


@pytest.mark.parametrize(
    "train, test, given, classes, numbers",
    [
        ([0, 2, 1], [1], (), ("0", "1", "2"), ([0, 2, 1], [1])),
        ([1, 3, 2], [3], (), ("1", "2", "3"), ([0, 2, 1], [2])),
        (["b", "a"], ["a"], (), ("a", "b"), ([1, 0], [0])),
        ([0, None, 1], [0], ("cat", "dog"), ("cat", "dog"), ([0, -1, 1], [0])),
        (np.array([0.0, 1.0]), np.array([1.0]), (), ("0", "1"), ([0, 1], [1])),
        (np.array(["x", "y"]), ["y"], (), ("x", "y"), ([0, 1], [1])),
        ([True, False], [True], (), ("0", "1"), ([1, 0], [1])),
        ([None, None], [0, 1], (), ("0", "1"), ([-1, -1], [0, 1])),
    ],
)
def test_labels_become_numbers_of_classes(train, test, given, classes, numbers):
    assert number_labels(train, test, given, "x") == (classes, *numbers)


@pytest.mark.parametrize(
    "train, given, message",
    [
        ([0, 1, 2**62], (), f"no training image with label 2, but one with {2**62}"),
        ([0, 10**9], (), "without gaps"),
        ([-1, 0, 1], (), "has the label -1: labels are 0, 1"),
        ([0.5, 1], (), "'0.5': labels must be text or integers"),
        ([float("nan"), 1], (), "'nan': labels must be"),
        ([float("inf"), 1], (), "'inf': labels must be"),
        (np.array([1 + 1j]), (), "labels must be text or integers"),
        ([0, "cat"], (), "numbers and text as labels"),
        ([0, 5], ("a", "b"), "training label 5 is not one of the 2 classes"),
        ([[1], [2]], (), "labels must be text or integers"),
    ],
)
def test_invalid_labels_are_rejected(train, given, message):
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        number_labels(train, [], given, "x")


def folder(base: Path, *classes: str, splits=("train", "val")) -> Path:
    for split in splits:
        for label, name in enumerate(classes):
            for i in range(5):
                save(base / split / name / f"{i}.png", 10 * label + i)
    return base


def of(source, root, **changes) -> Data:
    return Data(source=source, image_size=12, root=str(root), encoding=Encoding(mode="raw"), **changes)


def test_prepared_files_depend_on_the_content(tmp_path):
    data = of(s.ImageFolder(path=str(folder(tmp_path / "d", "cat", "dog"))), tmp_path / "root")
    first = prepare(data)
    assert prepare(data) == first
    folder(tmp_path / "d", "cat", "dog", "owl")
    second = prepare(data)
    assert second.classes == ("cat", "dog", "owl") and second.train != first.train and first.train.exists()
    save(tmp_path / "d" / "train" / "cat" / "0.png", 99)  # the same name, other pixels
    assert prepare(data).train not in (first.train, second.train)
    shutil.rmtree(tmp_path / "d")  # as on a node without the source: the files that came last
    assert prepare(data).classes == ("cat", "dog", "owl")


def test_files_of_an_earlier_key_are_not_used(tmp_path):
    """Earlier, a folder's name did not depend on the content; such folders are not read."""
    data = of(s.ImageFolder(path=str(folder(tmp_path / "d", "cat", "dog"))), tmp_path / "root")
    prepared = prepare(data).train.parent
    old = prepared.with_name(prepared.name.rpartition("-")[0])
    shutil.copytree(prepared, old)
    (old / "manifest.json").write_text('{"format": 1}')
    assert prepare(data).train.parent == prepared


def test_the_content_key_depends_on_names_sizes_and_times(tmp_path):
    base = folder(tmp_path / "d", "cat")
    seen = {content_digest([base], tmp_path / "root")}
    for change in (
        lambda: os.utime(base / "val" / "cat" / "0.png", (1, 1)),
        lambda: (base / "val" / "cat" / "1.png").rename(base / "val" / "cat" / "new.png"),
        lambda: (base / "notes.txt").write_text("x"),
    ):
        change()
        seen.add(content_digest([base], tmp_path / "root"))
    assert len(seen) == 4
    save(base / "root" / "cache.png", 1)
    assert content_digest([base], base / "root") in seen  # files that raykd itself writes there are not data
    assert content_digest([base, tmp_path / "nowhere"], tmp_path) == ""


def test_partial_files_of_dead_writers_are_removed(tmp_path):
    root = tmp_path / "root"
    for name in ("dead", "alive"):
        (root / name).mkdir(parents=True)
        (root / name / ".123.tmp.beton").write_bytes(b"half")
    data = of(s.ImageFolder(path=str(folder(tmp_path / "d", "cat", "dog"))), root)
    with open(root / "alive" / ".123.tmp.beton") as writing:
        fcntl.flock(writing, fcntl.LOCK_EX)
        prepare(data)
    assert [str(path.relative_to(root)) for path in root.rglob(".*.tmp*")] == ["alive/.123.tmp.beton"]


def test_exceptions_of_the_progress_callback_end_the_writing(tmp_path):
    class Stop(Exception):
        pass

    def stop(split, total, size):
        raise Stop

    data = of(s.ImageFolder(path=str(folder(tmp_path / "d", "cat", "dog"))), tmp_path / "root")
    with pytest.raises(Stop):
        prepare(data, progress=stop)
    assert not list((tmp_path / "root").rglob("*.beton"))
    prepare(data)


def test_mean_and_deviation_equal_those_of_the_training_pixels(tmp_path):
    from PIL import Image

    data = of(s.ImageFolder(path=str(folder(tmp_path / "d", "cat", "dog"))), tmp_path / "root")
    pixels = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "d" / "train").rglob("*.png"))]
    levels = np.stack(pixels).reshape(-1, 3) / 255
    prepared = prepare(data)
    np.testing.assert_allclose([prepared.mean, prepared.std], [levels.mean(0), levels.std(0)], rtol=1e-12)


def test_batches_are_normalised_with_measured_statistics(tmp_path):
    from raykd.data.loader import TestLoader, TrainLoader

    data = of(s.ImageFolder(path=str(folder(tmp_path / "d", "cat", "dog"))), tmp_path / "root")
    prepared, placement = prepare(data), Placement(torch.device("cpu"), 1)
    train = TrainLoader(data, prepared, placement, batch_size=10, seed=0)
    (batch,) = train.batches(0, 1)
    assert batch.images.mean((0, 2, 3)).abs().max() < 1e-4
    assert (batch.images.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-4
    with pytest.raises(UserError, match=r"data\.mean, data\.std: existing \.beton files have no measured values"):
        TestLoader(data, replace(prepared, mean=None), placement, batch_size=10)


def test_a_run_resumes_only_with_the_same_data(tmp_path):
    from raykd.runs.data import expect_data, other_data
    from raykd.storage.folder import Folder

    data = of(s.ImageFolder(path=str(folder(tmp_path / "d", "cat", "dog"))), tmp_path / "root")
    run = Folder(tmp_path / "run")
    expect_data(run, prepare(data))
    expect_data(run, prepare(data))
    folder(tmp_path / "d", "cat", "dog", "owl")
    with pytest.raises(UserError, match="10 training images of 2 classes then, 15 training images of 3 classes now"):
        expect_data(run, prepare(data))
    assert "data has changed" in other_data(run, prepare(data))

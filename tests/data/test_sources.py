"""Each source on a tiny data set in its real layout on disk: every image and label is read correctly."""

import hashlib
import io
import json
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from scipy.io import savemat

from raykd import UserError
from raykd.contract import Placement
from raykd.data import sources as s
from raykd.data.config import Data, Encoding
from raykd.data.loader import TestLoader
from raykd.data.storage.prepare import prepare
from raykd.data.transforms import Resize
from tests.support.toy import photograph

SIDE = 12


def picture(seed: int) -> np.ndarray:
    return photograph(seed, SIDE, SIDE)


def save(path: Path, seed: int) -> Path:
    """Write an image file losslessly if its format can, under any name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, "PNG")  # PIL reads by content: a lossless .jpg makes the test exact
    return path


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def imagefolder(base, patch):
    for split, first in (("train", 0), ("val", 50)):
        for label, name in enumerate(("cat", "dog", "emu")):
            save(base / split / name / f"{first + label}.png", first + label)
    return s.ImageFolder(path=str(base)), ("cat", "dog", "emu"), [(0, 0), (1, 1), (2, 2)], [(50, 0), (51, 1), (52, 2)]


def imagenet(base, patch):
    _, *expected = imagefolder(base, patch)
    return s.ImageNet(path=str(base)), *expected


def tiny_imagenet(base, patch):
    text(base / "wnids.txt", "n02", "n01")
    text(base / "words.txt", "n01\tgoldfish, Carassius auratus", "n02\temu", "n03\tnot used")
    for label, wnid in enumerate(("n01", "n02")):
        save(base / "train" / wnid / "images" / f"{wnid}_0.JPEG", label)
    text(base / "val" / "val_annotations.txt", "val_0.JPEG\tn02\t0\t0\t9\t9", "val_1.JPEG\tn01\t0\t0\t9\t9")
    for i in range(2):
        save(base / "val" / "images" / f"val_{i}.JPEG", 50 + i)
    classes = ("goldfish, Carassius auratus", "emu")
    return s.TinyImageNet(path=str(base)), classes, [(0, 0), (1, 1)], [(50, 1), (51, 0)]


def cub200(base, patch):
    text(base / "classes.txt", "1 001.Black_footed_Albatross", "2 002.Laysan_Albatross")
    names = ["001.Black_footed_Albatross/a.jpg", "002.Laysan_Albatross/b.jpg", "002.Laysan_Albatross/c.jpg"]
    text(base / "images.txt", *(f"{i + 1} {name}" for i, name in enumerate(names)))
    text(base / "image_class_labels.txt", "1 1", "2 2", "3 2")
    text(base / "train_test_split.txt", "1 1", "2 0", "3 1")
    for i, name in enumerate(names):
        save(base / "images" / name, i)
    return s.CUB200(path=str(base)), ("Black_footed_Albatross", "Laysan_Albatross"), [(0, 0), (2, 1)], [(1, 1)]


def cells(names):
    column = np.empty((len(names), 1), object)
    column[:, 0] = names
    return column


def stanford_dogs(base, patch):
    files = ["n02085620-Chihuahua/n1.jpg", "n02085782-Japanese_spaniel/n2.jpg", "n02085620-Chihuahua/n3.jpg"]
    for i, name in enumerate(files):
        save(base / "Images" / name, i)
    savemat(base / "train_list.mat", {"file_list": cells(files[:2]), "labels": np.array([[1], [2]], np.uint8)})
    savemat(base / "test_list.mat", {"file_list": cells(files[2:]), "labels": np.array([[1]], np.uint8)})
    return s.StanfordDogs(path=str(base)), ("Chihuahua", "Japanese_spaniel"), [(0, 0), (1, 1)], [(2, 0)]


def mit67(base, patch):
    train, test = ["kitchen/a.jpg", "airport_inside/b.jpg"], ["kitchen/c.jpg"]
    for i, name in enumerate(train + test):
        save(base / "Images" / name, i)
    text(base / "TrainImages.txt", *train)
    text(base / "TestImages.txt", *test)
    return s.MIT67(path=str(base)), ("airport_inside", "kitchen"), [(0, 1), (1, 0)], [(2, 1)]


def stanford40(base, patch):
    names = ["applauding_001.jpg", "applauding_002.jpg", "jumping_001.jpg", "jumping_002.jpg"]
    for i, name in enumerate(names):
        save(base / "JPEGImages" / name, i)
    for action in ("applauding", "jumping"):
        text(base / "ImageSplits" / f"{action}_train.txt", f"{action}_001.jpg")
        text(base / "ImageSplits" / f"{action}_test.txt", f"{action}_002.jpg")
    text(base / "ImageSplits" / "actions.txt", "action_name\tnumber_of_man_images", "applauding\t2", "jumping\t2")
    return s.Stanford40(path=str(base)), ("applauding", "jumping"), [(0, 0), (2, 1)], [(1, 0), (3, 1)]


def cifar(base, patch, kind, source, folder, files, key, meta):
    def planes(first, count):
        return np.stack(
            [np.pad(picture(first + i), ((0, 20), (0, 20), (0, 0))).transpose(2, 0, 1) for i in range(count)]
        )

    (base / folder).mkdir(parents=True)
    classes = ["apple", "bear", "cloud"]
    checksums = {}
    for number, name in enumerate(files):
        entry = {"data": planes(number * 3, 3).reshape(3, -1), key: [(number + i) % 3 for i in range(3)]}
        (base / folder / name).write_bytes(pickle.dumps(entry))
    (base / folder / meta["filename"]).write_bytes(pickle.dumps({meta["key"]: classes}))
    for name in (*files, meta["filename"]):
        checksums[name] = hashlib.md5((base / folder / name).read_bytes()).hexdigest()
    patch.setattr(kind, "train_list", [(name, checksums[name]) for name in files[:-1]])
    patch.setattr(kind, "test_list", [(files[-1], checksums[files[-1]])])
    patch.setattr(kind, "meta", meta | {"md5": checksums[meta["filename"]]})
    pairs = [(3 * n + i, (n + i) % 3) for n in range(len(files)) for i in range(3)]
    return source(path=str(base)), tuple(classes), pairs[:-3], pairs[-3:]


def cifar10(base, patch):
    files = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    meta = {"filename": "batches.meta", "key": "label_names"}
    return cifar(base, patch, torchvision.datasets.CIFAR10, s.CIFAR10, "cifar-10-batches-py", files, "labels", meta)


def cifar100(base, patch):
    meta = {"filename": "meta", "key": "fine_label_names"}
    kind = torchvision.datasets.CIFAR100
    return cifar(base, patch, kind, s.CIFAR100, "cifar-100-python", ["train", "test"], "fine_labels", meta)


def flowers102(base, patch):
    folder = base / "flowers-102"
    for i in range(1, 106):  # the first 102 are of class 102, 101, … and train; two more are tested
        save(folder / "jpg" / f"image_{i:05d}.jpg", i)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[*range(102, 0, -1), 7, 102, 1]])})
    ids = {"trnid": np.arange(1, 103)[None], "valid": np.array([[103]]), "tstid": np.array([[105, 104]])}
    savemat(folder / "setid.mat", ids)
    names = {"label": "imagelabels.mat", "setid": "setid.mat"}
    sums = {key: (name, hashlib.md5((folder / name).read_bytes()).hexdigest()) for key, name in names.items()}
    patch.setattr(torchvision.datasets.Flowers102, "_file_dict", sums)
    return s.Flowers102(path=str(base)), None, [(i, 102 - i) for i in range(1, 103)], [(105, 0), (104, 101)]


def pet37(base, patch):
    names = ["Abyssinian_1", "american_bulldog_2", "Abyssinian_3", "american_bulldog_4"]
    for i, name in enumerate(names):
        save(base / "oxford-iiit-pet" / "images" / f"{name}.jpg", i)
    text(base / "oxford-iiit-pet" / "annotations" / "trainval.txt", f"{names[0]} 1 1 1", f"{names[1]} 2 2 1")
    text(base / "oxford-iiit-pet" / "annotations" / "test.txt", f"{names[2]} 1 1 1", f"{names[3]} 2 2 1")
    return s.Pet37(path=str(base)), ("Abyssinian", "American Bulldog"), [(0, 0), (1, 1)], [(2, 0), (3, 1)]


def food101(base, patch):
    splits = {
        "train": {"pizza": ["pizza/1"], "apple_pie": ["apple_pie/2"]},
        "test": {"pizza": ["pizza/3"], "apple_pie": []},
    }
    for split, classes in splits.items():
        text(base / "food-101" / "meta" / f"{split}.json", json.dumps(classes))
        for name in sum(classes.values(), []):
            save(base / "food-101" / "images" / f"{name}.jpg", int(name[-1]))
    return s.Food101(path=str(base)), ("apple_pie", "pizza"), [(1, 1), (2, 0)], [(3, 1)]


def any_torchvision(base, patch):
    _, *expected = pet37(base, patch)
    return s.Torchvision(kind="OxfordIIITPet", train="trainval", path=str(base)), *expected


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="pip install datasets"):
        s.HuggingFace(dataset="some/name").open(tmp_path, False)


def huggingface(base, patch):
    import datasets

    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["a", "b"])})

    def split(pairs):
        columns = {"picture": [Image.fromarray(picture(i)) for i, _ in pairs], "kind": [label for _, label in pairs]}
        return datasets.Dataset.from_dict(columns, features=features)

    train, test = [(0, 1), (1, 0), (2, 1)], [(3, 0)]
    datasets.DatasetDict({"train": split(train), "held": split(test)}).save_to_disk(str(base))
    source = s.HuggingFace(dataset=str(base), test="held", image="picture", label="kind")
    return source, ("a", "b"), train, test


def npz(base, patch):
    images = np.stack([picture(i) for i in range(4)])
    np.savez(base / "x.npz", x_train=images[:3], y_train=np.array([[0], [2], [1]]), x_test=images[3:], y_test=[1])
    return s.Npz(path=str(base / "x.npz")), ("0", "1", "2"), [(0, 0), (1, 2), (2, 1)], [(3, 1)]


def varint(value: int) -> bytes:
    result = b""
    while value > 127:
        result, value = result + bytes([value & 127 | 128]), value >> 7
    return result + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def example(data: bytes, label: int) -> bytes:
    """A tf.train.Example with a bytes feature, an int64 feature (packed, as TensorFlow writes it) and a float
    feature."""
    image, number = field(1, field(1, data)), field(3, field(1, varint(label)))
    weight = field(2, field(1, struct.pack("<f", 0.5)))
    entries = [(b"image", image), (b"weight", weight), (b"class", number)]
    return field(1, b"".join(field(1, field(1, key) + field(2, value)) for key, value in entries))


def checksum(data):
    """CRC-32C bit by bit, masked as in TensorFlow's record writer."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def record(data):
    length = struct.pack("<Q", len(data))
    return length + checksum(length) + data + checksum(data)


def tfrecord(base, patch):
    def shard(name, pairs):
        with (base / name).open("wb") as file:
            for seed, label in pairs:
                buffer = io.BytesIO()
                Image.fromarray(picture(seed)).save(buffer, "PNG")
                file.write(record(example(buffer.getvalue(), label)))

    shard("train-00.tfrec", [(0, 0), (1, 2)])
    shard("train-01.tfrec", [(2, 1)])
    shard("val-00.tfrec", [(3, 1)])
    return s.TFRecord(path=str(base)), ("0", "1", "2"), [(0, 0), (1, 2), (2, 1)], [(3, 1)]


def stored_csv(base, patch):
    for seed in range(3):
        save(base / f"{seed}.png", seed)
    text(base / "train.csv", "image,label", "0.png,dog", "1.png,cat")
    text(base / "test.csv", "image,label", "2.png,cat")
    source = s.Table(path=str(base / "train.csv"), test=str(base / "test.csv"))
    return source, ("cat", "dog"), [(0, 1), (1, 0)], [(2, 0)]


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def stored_parquet(base, patch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, seeds in (("train", (0, 1)), ("test", (2,))):
        table = {"image": [{"bytes": png(seed), "path": None} for seed in seeds], "label": [seed % 2 for seed in seeds]}
        pq.write_table(pa.table(table), base / f"{name}.parquet")
    source = s.Table(path=str(base / "train.parquet"), test=str(base / "test.parquet"))
    return source, ("0", "1"), [(0, 0), (1, 1)], [(2, 0)]


def stored_shards(base, patch):
    import tarfile

    for name, seeds in (("train", (0, 1)), ("test", (2,))):
        with tarfile.open(base / f"{name}.tar", "w") as archive:
            for seed in seeds:
                for suffix, content in (("png", png(seed)), ("cls", str(seed % 2).encode())):
                    member = tarfile.TarInfo(f"{seed:04}.{suffix}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    source = s.WebDataset(path=str(base / "train.tar"), test=str(base / "test.tar"))
    return source, ("0", "1"), [(0, 0), (1, 1)], [(2, 0)]


MAKERS = (
    imagefolder, imagenet, tiny_imagenet, cub200, stanford_dogs, mit67, stanford40, cifar10, cifar100, flowers102,
    pet37, food101, any_torchvision, huggingface, npz, tfrecord, stored_csv, stored_parquet, stored_shards,
)  # fmt: skip


@pytest.mark.parametrize("mode", ["raw", "jpeg"])
@pytest.mark.parametrize("make", MAKERS)
def test_sources_have_the_expected_content(tmp_path, monkeypatch, make, mode):
    (tmp_path / "source").mkdir()
    source, classes, train, test = make(tmp_path / "source", monkeypatch)
    side = 32 if "CIFAR" in type(source).__name__ else SIDE
    data = Data(
        source=source,
        image_size=side,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        root=str(tmp_path / "data"),
        encoding=Encoding(mode=mode, quality=95),
    )
    prepared = prepare(data)
    assert (prepared.train_size, prepared.test_size) == (len(train), len(test))
    assert classes is None or prepared.classes == classes
    for path, expected in ((prepared.train, train), (prepared.test, test)):
        check(data, prepared, path, expected, exact=mode == "raw")


def check(data, prepared, path, expected, exact):
    """Read a split through TestLoader and compare every image and label."""
    import dataclasses

    prepared = dataclasses.replace(prepared, test=path)
    loader = TestLoader(data, prepared, Placement(torch.device("cpu"), 1), batch_size=128)
    (batch,) = loader.batches()
    assert batch.labels.tolist() == [label for _, label in expected]
    for image, (seed, _) in zip(batch.images, expected, strict=True):
        pixels = np.rint(image.permute(1, 2, 0).numpy() * 255)[:SIDE, :SIDE]
        error = np.abs(pixels - picture(seed))
        assert error.max() == 0 if exact else error.mean() < 15  # edges of 12-pixel images are hard for JPEG's chroma


def test_digits_equal_scikit_learns(tmp_path):
    from sklearn.datasets import load_digits

    data = Data(source=s.Digits(), image_size=32, mean=(0, 0, 0), std=(1, 1, 1), root=str(tmp_path))
    prepared = prepare(data)
    assert (prepared.train_size, prepared.test_size) == (1347, 450)
    splits, digits = s.Digits().open(tmp_path, False), load_digits()
    known = {image.tobytes(): label for image, label in zip(digits.images, digits.target, strict=True)}
    for part in (splits.train, splits.test):
        for i, label in enumerate(part.labels):
            levels = np.rint(part.read(i)[::4, ::4, 0] * (16 / 255))
            assert known[levels.tobytes()] == label
        share = np.bincount(part.labels) / len(part.labels)
        assert np.abs(share - np.bincount(digits.target) / 1797).max() < 0.002
    pixels = np.stack([splits.train.read(i) for i in range(1347)]) / 255
    assert pixels.mean() == pytest.approx(0.3053, abs=5e-5) and pixels.std() == pytest.approx(0.3758, abs=5e-5)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (s.ImageNet(), "imagenet: set its folder with --data.source.path"),
        (s.ImageFolder(path="/nowhere"), "/nowhere does not exist"),
        (s.CIFAR10(), "CIFAR10 is not in .*downloads.*--download"),
        (s.Torchvision(kind="Nothing"), "torchvision has no data set 'Nothing'"),
        (s.Npz(path="/nowhere.npz"), "/nowhere.npz does not exist"),
        (s.TFRecord(path="/nowhere"), "/nowhere has no shards train"),
        (s.HuggingFace(dataset="nobody/nothing"), "nobody/nothing is not in .*--download"),
    ],
)
def test_missing_sources_say_what_to_do(tmp_path, source, message):
    with pytest.raises(UserError, match=message):
        source.open(tmp_path, False)


@pytest.mark.parametrize("at", [0, 9, 14, -1])  # a length, its checksum, a record's data, its checksum
def test_a_damaged_record_is_named(tmp_path, at):
    first, second = record(example(b"first", 1)), bytearray(record(example(b"second", 2)))
    second[at] ^= 1
    (tmp_path / "train-0").write_bytes(first + second)
    with pytest.raises(UserError, match=f"train-0 is damaged: .* record at byte {len(first)} is wrong"):
        s.TFRecord(path=str(tmp_path)).open(tmp_path, False)


def test_damaged_sources_are_named(tmp_path):
    (tmp_path / "train-0").write_bytes(struct.pack("<QI", 1000, 0) + b"short")
    with pytest.raises(UserError, match="train-0 is truncated, or is not a TFRecord file"):
        s.TFRecord(path=str(tmp_path)).open(tmp_path, False)
    (tmp_path / "train-0").write_bytes(record(b"\xff\xff\xff"))
    with pytest.raises(UserError, match="train-0 has a record that is not a tf.train.Example"):
        s.TFRecord(path=str(tmp_path)).open(tmp_path, False)
    np.savez(tmp_path / "x.npz", x_train=np.zeros(3))
    with pytest.raises(UserError, match="x.npz has no array 'y_train'; it has 'x_train'"):
        s.Npz(path=str(tmp_path / "x.npz")).open(tmp_path, False)
    imagefolder(tmp_path, None)
    save(tmp_path / "val" / "yak" / "1.png", 1)
    with pytest.raises(UserError, match="val has classes without training images: yak"):
        s.ImageFolder(path=str(tmp_path)).open(tmp_path, False)


def test_a_corrupt_file_is_named_by_its_path(tmp_path):
    source, *_ = imagefolder(tmp_path / "source", None)
    bad = tmp_path / "source" / "train" / "dog" / "1.png"
    bad.write_bytes(bad.read_bytes()[:100])
    save(bad.with_name("2.png"), 2)
    data = Data(source=source, image_size=8, mean=(0, 0, 0), std=(1, 1, 1), root=str(tmp_path), test=(Resize(size=8),))
    with pytest.raises(UserError, match=r"train/dog/1\.png can't be read: .*--skip-corrupt"):
        prepare(data)
    assert prepare(data, skip_corrupt=True).train_size == 3

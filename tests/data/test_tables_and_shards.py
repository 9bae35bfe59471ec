"""Tables, lists, shards and folders: every image and label is read correctly, or the file is rejected in one line."""

import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_sources import picture, save

from raykd import UserError
from raykd.data import sources as s
from raykd.data.config import Data
from raykd.data.reading.pictures import read_rgb
from raykd.data.storage.prepare import prepare
from raykd.recipe.validate import validate


def stored(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture(seed)).save(file, "PNG")
    return file.getvalue()


def read(examples) -> list[tuple[int, int]]:
    """Seed and label of every image."""
    known = {picture(seed).tobytes(): seed for seed in range(60)}
    return [(known[read_rgb(examples.read(i)).tobytes()], label) for i, label in enumerate(examples.labels)]


def opened(source):
    return source.open(None, False)


def test_a_csv_of_paths_and_class_names_is_read(tmp_path):
    for seed in range(4):
        save(tmp_path / "pictures" / f"{seed}.png", seed)
    rows = ["label,image,more", "dog,pictures/0.png,x", "cat,pictures/1.png,x", ",pictures/2.png,x"]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    (tmp_path / "test.tsv").write_text(f"image\tlabel\n{tmp_path}/pictures/3.png\tcat\n")
    splits = opened(s.Table(path=str(tmp_path / "train.csv"), test=str(tmp_path / "test.tsv")))
    assert splits.classes == ("cat", "dog")
    assert read(splits.train) == [(0, 1), (1, 0), (2, -1)] and read(splits.test) == [(3, 0)]


def test_a_csv_without_a_header_is_split(tmp_path):
    for seed in range(20):
        save(tmp_path / f"{seed}.png", seed)
    (tmp_path / "all.csv").write_text("".join(f"{seed}.png,{10 + seed % 2}\n" for seed in range(20)))
    splits = opened(s.Table(path=str(tmp_path / "all.csv"), test_share=0.3))
    assert splits.classes == ("10", "11") and "30% of each class" in splits.notes[0]
    train, tested = read(splits.train), read(splits.test)
    assert sorted(train + tested) == [(seed, seed % 2) for seed in range(20)]
    assert [label for _, label in tested].count(0) == [label for _, label in tested].count(1) == 3


def test_hugging_faces_parquet_is_read(tmp_path):
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    for name, seeds in (("train-00", (0, 1)), ("train-01", (2,)), ("test", (3,))):
        images = [{"bytes": stored(i), "path": None} for i in seeds]
        rows = {"image": images, "label": [(-1, 0, 1, 1)[i] for i in seeds]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / f"{name}.parquet"))
    splits = opened(s.Table(path=str(tmp_path / "train-*.parquet"), test=str(tmp_path / "test.parquet")))
    assert splits.classes == ("cat", "dog")
    assert read(splits.train) == [(0, -1), (1, 0), (2, 1)] and read(splits.test) == [(3, 1)]


def test_images_in_parquet_are_not_read_to_find_the_files_of_the_data(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, images in (("inside", [stored(1), stored(2)]), ("beside", [None, stored(2)])):
        rows = [{"bytes": content, "path": "1.png"} for content in images]
        pq.write_table(pa.table({"image": rows, "label": [0, 1]}), tmp_path / f"{name}.parquet")
    (tmp_path / "1.png").write_bytes(stored(1))
    beside, inside = (s.Table(path=str(tmp_path / f"{name}.parquet")) for name in ("beside", "inside"))
    assert beside.paths() == (tmp_path / "beside.parquet", tmp_path / "1.png")
    monkeypatch.setattr(pq, "read_table", None)
    assert inside.paths() == (tmp_path / "inside.parquet",)


def test_plain_and_unlabelled_parquet_is_read(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    save(tmp_path / "1.png", 1)
    pq.write_table(pa.table({"file": ["1.png"] * 10, "kind": ["a", "b"] * 5}), tmp_path / "x.parquet")
    splits = opened(s.Table(path=str(tmp_path / "x.parquet"), image="file", label="kind"))
    assert splits.classes == ("a", "b") and len(splits.test.labels) == 2
    alone = opened(s.Table(path=str(tmp_path / "x.parquet"), image="file", label=""))
    assert alone.train.labels == [-1] * 10 and len(alone.test.labels) == 0
    with pytest.raises(UserError, match="no column 'image'; it has file, kind"):
        opened(s.Table(path=str(tmp_path / "x.parquet")))


def shard(path, **files: bytes):
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("_", ".", 1))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_webdataset_shards_are_read(tmp_path):
    shard(tmp_path / "train-0.tar", a_png=stored(0), a_cls=b"1", a_txt=b"words", b_cls=b"0", b_png=stored(1))
    shard(tmp_path / "train-1.tar", c_png=stored(2), d_txt=b"no image")
    shard(tmp_path / "val-0.tar", e_png=stored(3), e_cls=b"1\n")
    splits = opened(s.WebDataset(path=str(tmp_path / "train-*.tar"), test=str(tmp_path / "val-0.tar")))
    assert read(splits.train) == [(0, 1), (1, 0), (2, -1)] and read(splits.test) == [(3, 1)]
    assert splits.train.name(1).endswith("train-0.tar, b")
    assert splits.notes == (f"left out of {tmp_path}/train-*.tar: 1 samples without an image",)


def test_json_labels_are_read_and_damaged_shards_rejected(tmp_path):
    kinds = ("cat", "dog")
    files = {}
    for i in range(10):
        files |= {f"{i:02}_png": stored(i), f"{i:02}_json": json.dumps({"label": kinds[i % 2]}).encode()}
    shard(tmp_path / "x.tar", **files)
    splits = opened(s.WebDataset(path=str(tmp_path / "x.tar"), label="json"))
    assert splits.classes == kinds and len(splits.train.labels) == 8
    (tmp_path / "cut.tar").write_bytes((tmp_path / "x.tar").read_bytes()[:700])
    (tmp_path / "no.tar").write_bytes(b"no tar" * 200)
    with tarfile.open(tmp_path / "z.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "no.tar", "a.png")
    for name in ("cut.tar", "no.tar", "z.tar.gz"):
        with pytest.raises(UserError, match=f"{name} is damaged, or is not an uncompressed .tar file|matches no shard"):
            opened(s.WebDataset(path=str(tmp_path / name)))


def test_folders_without_a_split_are_read(tmp_path):
    for base in (tmp_path / "split" / "train", tmp_path / "plain"):
        for label, name in enumerate(("cat", "dog")):
            for i in range(10):
                save(base / name / f"{i}.png", 10 * label + i)
    for path in ("split", "plain"):
        splits = opened(s.ImageFolder(path=str(tmp_path / path)))
        assert splits.classes == ("cat", "dog") and "20% of each class" in splits.notes[0]
        both = read(splits.train) + read(splits.test)
        assert sorted(both) == [(i, i // 10) for i in range(20)] and len(splits.test.labels) == 4
    (tmp_path / "split" / "test").mkdir()
    with pytest.raises(UserError, match="split/val is missing: set data.source.test to the folder of the test split"):
        opened(s.ImageFolder(path=str(tmp_path / "split")))
    (tmp_path / "plain").rename(tmp_path / "split" / "training")
    (tmp_path / "split" / "train").rename(tmp_path / "split" / "validation")
    with pytest.raises(UserError, match="split/train is missing: data.source.path must contain train/CLASS"):
        opened(s.ImageFolder(path=str(tmp_path / "split")))


def test_unlabelled_folders_are_read(tmp_path):
    for label, name in enumerate(("cat", "dog")):
        save(tmp_path / "train" / name / "0.png", label)
        save(tmp_path / "val" / name / "0.png", 2 + label)
    save(tmp_path / "more" / "4.png", 4)
    save(tmp_path / "more" / "deep" / "5.jfif", 5)
    splits = opened(s.ImageFolder(path=str(tmp_path), unlabelled="more"))
    assert read(splits.train) == [(0, 0), (1, 1), (4, -1), (5, -1)]
    splits = opened(s.ImageFolder(path=str(tmp_path), train="", unlabelled="more"))
    assert splits.classes == ("cat", "dog")
    assert read(splits.train) == [(4, -1), (5, -1)] and read(splits.test) == [(2, 0), (3, 1)]
    mixed = s.Mixed(labelled=s.ImageFolder(path=str(tmp_path)), unlabelled=s.Images(path=str(tmp_path / "more")))
    assert read(opened(mixed).train) == [(0, 0), (1, 1), (4, -1), (5, -1)]
    assert read(opened(mixed).test) == [(2, 0), (3, 1)]
    (tmp_path / "more" / "notes.txt").touch()
    assert opened(mixed).notes == (f"left out of {tmp_path}/more: 1 with suffix .txt",)


def test_missing_unlabelled_images_are_reported(tmp_path):
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        save(tmp_path / name / "0.png", 1)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "notes.txt").touch()
    folder = s.ImageFolder(path=str(tmp_path))
    with pytest.raises(UserError, match="more has no images: correct data.source.unlabelled"):
        opened(replace(folder, unlabelled="more"))
    with pytest.raises(UserError, match="unlabelled has no training images; left out of .*: 1 with suffix .txt"):
        opened(s.Mixed(labelled=folder, unlabelled=s.Images(path=str(tmp_path / "more"))))
    with pytest.raises(UserError, match="and can't be mixed"):
        opened(s.Mixed(labelled=folder, unlabelled=s.Beton(train="x.beton")))
    with pytest.raises(UserError, match="unlabelled.path: '' must be given"):
        validate(s.Mixed(labelled=folder, unlabelled=s.Images(path="")))


def test_a_list_of_unlabelled_paths_is_read(tmp_path):
    for seed in range(3):
        save(tmp_path / f"{seed}.png", seed)
    (tmp_path / "list.txt").write_text("# mine\n0.png\n\n2.png\n")
    source = s.Mixed(labelled=s.Digits(), unlabelled=s.Table(path=str(tmp_path / "list.txt")))
    splits = opened(source)
    assert splits.train.labels[-2:] == [-1, -1] and np.array_equal(read_rgb(splits.train.read(1348)), picture(2))


def parquet(path, names, labels):
    """A table of images 0, 1, … as `datasets` writes it, with the names of its own numbers."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    images = [{"bytes": stored(i), "path": None} for i in range(len(labels))]
    made = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
    made.to_parquet(str(path))
    return made


def test_tables_may_number_classes_differently(tmp_path):
    parquet(tmp_path / "train-0.parquet", ["cat", "dog", "owl"], [0, 1, 2])
    parquet(tmp_path / "train-1.parquet", ["owl", "cat", "dog"], [1, -1, 2])
    parquet(tmp_path / "test.parquet", ["owl", "cat"], [0, 1])
    splits = opened(s.Table(path=str(tmp_path / "train-*.parquet"), test=str(tmp_path / "test.parquet")))
    assert splits.classes == ("cat", "dog", "owl")
    assert splits.train.labels == [0, 1, 2, 0, -1, 1] and splits.test.labels == [2, 0]
    parquet(tmp_path / "test.parquet", ["owl", "bat"], [0, 1])
    with pytest.raises(UserError, match="test.parquet has the class 'bat', which the first file lacks"):
        opened(s.Table(path=str(tmp_path / "train-*.parquet"), test=str(tmp_path / "test.parquet")))


def test_hugging_face_splits_may_number_classes_differently(tmp_path):
    import datasets

    train = parquet(tmp_path / "a.parquet", ["cat", "dog"], [0, 1])
    test = parquet(tmp_path / "b.parquet", ["dog", "cat"], [0, 1])
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "saved"))
    splits = s.HuggingFace(dataset=str(tmp_path / "saved")).open(tmp_path, False)
    assert (splits.classes, splits.train.labels, splits.test.labels) == (("cat", "dog"), [0, 1], [1, 0])


def csv_of(path, labels, header="image,label"):
    lines = [header, *(f"{i}.png,{label}" for i, label in enumerate(labels))]
    path.write_text("\n".join(filter(None, lines)))
    return s.Table(path=str(path), test_share=0.5)


def test_text_labels_follow_the_order_of_given_names(tmp_path):
    source = csv_of(tmp_path / "x.csv", ["dog", "cat", "dog", "cat"])
    given = s.Table(path=source.path, test_share=0.5, classes=("dog", "cat"))
    assert opened(source).classes == ("cat", "dog") and opened(given).classes == ("dog", "cat")
    assert sorted(opened(given).train.labels) == [0, 1] and opened(given).train.labels[0] == 0
    with pytest.raises(UserError, match="'dog' is not one of the 2 classes"):
        opened(s.Table(path=source.path, test_share=0.5, classes=("cat", "owl")))


def test_ambiguous_numerals_are_kept_as_text(tmp_path):
    assert opened(csv_of(tmp_path / "x.csv", ["1", "01", "1", "01"])).classes == ("01", "1")
    assert opened(csv_of(tmp_path / "x.csv", ["00", "01", "00", "01"])).classes == ("0", "1")
    for word in ("nan", "NULL"):
        with pytest.raises(UserError, match=f"the label '{word}' among numbers: leave the label"):
            opened(csv_of(tmp_path / "x.csv", ["0", word, "0", "1"]))


@pytest.mark.parametrize("header", ["filename,class", "Image,Label", "image;label"])
def test_a_header_with_other_names_is_reported(tmp_path, header):
    with pytest.raises(UserError, match="no column 'image', and its first row names no image: .*data.source.image"):
        opened(csv_of(tmp_path / "x.csv", ["a", "b"], header))


def test_the_image_of_a_sample_is_chosen_by_its_suffix(tmp_path):
    """A depth map that comes first in the shard is not the image; two images in one sample are ambiguous."""
    source = s.WebDataset(path=str(tmp_path / "x.tar"))
    shard(tmp_path / "x.tar", **{"a_depth.png": stored(1), "a_png": stored(0), "a_cls": b"0"}, b_cls=b"1")
    splits = opened(s.WebDataset(path=source.path, test=source.path))
    assert read(splits.train) == [(0, 0)] and "1 samples without an image" in splits.notes[0]
    shard(tmp_path / "x.tar", **{"a_left.png": stored(1), "a_right.png": stored(0), "a_cls": b"0"})
    with pytest.raises(UserError, match="several images in one sample: a.left.png and a.right.png"):
        opened(source)


@pytest.mark.parametrize("label", ["CLS", ".cls"])
def test_the_label_suffix_may_have_a_dot(tmp_path, label):
    shard(tmp_path / "x.tar", **{f"{i}_{kind}": content for i in range(4) for kind, content in both(i)})
    splits = opened(s.WebDataset(path=str(tmp_path / "x.tar"), label=label, test_share=0.5))
    assert splits.classes == ("0", "1")


def both(i):
    return ("png", stored(i)), ("cls", str(i % 2).encode())


def test_missing_label_files_are_reported(tmp_path):
    """The shard is sorted by suffix, so no sample has both files."""
    pairs = [(f"{i}_{suffix}", content) for i in range(4) for suffix, content in both(i)]
    files = dict(sorted(pairs, key=lambda pair: pair[0][2:]))
    shard(tmp_path / "x.tar", **files)
    with pytest.raises(UserError, match=r"no training image has a label.*4 samples without an image.*suffix \.cls"):
        prepare(Data(source=s.WebDataset(path=str(tmp_path / "x.tar")), image_size=1, root=str(tmp_path / "root")))


def test_duplicate_images_are_reported(tmp_path):
    """One of four test images is also a training image; one training image has two labels."""
    for name, seed in {"0": 0, "1": 1, "2": 2, "3": 3, "4": 0}.items():
        save(tmp_path / f"{name}.png", seed)
    (tmp_path / "train.csv").write_text("0.png,a\n1.png,b\n4.png,b\n")
    (tmp_path / "test.csv").write_text("1.png,b\n2.png,a\n3.png,b\n2.png,a\n")
    source = s.Table(path=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))
    notes = prepare(Data(source=source, image_size=1, root=str(tmp_path / "root"))).notes
    assert notes == (
        "1 of the 4 test images are also training images",
        "1 training images occur more than once, with different labels",
    )


@pytest.mark.parametrize("name", ["o\udcff", "b"])
def test_class_names_must_be_valid_utf8(tmp_path, name):
    for i in range(4):
        save(tmp_path / f"{i}.png", i)
    (tmp_path / "x.csv").write_text(
        "".join(f"{i}.png,{'a' if i % 2 else name}\n" for i in range(4)), errors="surrogateescape"
    )
    data = Data(source=s.Table(path=str(tmp_path / "x.csv"), test_share=0.5), image_size=1, root=str(tmp_path / "root"))
    if name == "b":
        assert prepare(data).classes == ("a", "b")
    else:
        with pytest.raises(UserError, match="whose name is not valid UTF-8"):
            prepare(data)

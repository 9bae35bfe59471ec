"""Tables, lists, shards and folders as people have them: every image and label right, or one clear line."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image
from test_sources import picture, save

from raykd import UserError
from raykd.data import sources as s
from raykd.data.reading.pictures import read_rgb


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


def test_a_csv_of_paths_and_names(tmp_path):
    for seed in range(4):
        save(tmp_path / "pictures" / f"{seed}.png", seed)
    rows = ["label,image,more", "dog,pictures/0.png,x", "cat,pictures/1.png,x", ",pictures/2.png,x"]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    (tmp_path / "test.tsv").write_text(f"image\tlabel\n{tmp_path}/pictures/3.png\tcat\n")
    splits = opened(s.Table(path=str(tmp_path / "train.csv"), test=str(tmp_path / "test.tsv")))
    assert splits.classes == ("cat", "dog")
    assert read(splits.train) == [(0, 1), (1, 0), (2, -1)] and read(splits.test) == [(3, 0)]


def test_a_csv_without_a_header_gives_a_share_of_each_class_to_the_test(tmp_path):
    for seed in range(20):
        save(tmp_path / f"{seed}.png", seed)
    (tmp_path / "all.csv").write_text("".join(f"{seed}.png,{10 + seed % 2}\n" for seed in range(20)))
    splits = opened(s.Table(path=str(tmp_path / "all.csv"), test_share=0.3))
    assert splits.classes == ("10", "11") and "30% of each class" in splits.notes[0]
    train, tested = read(splits.train), read(splits.test)
    assert sorted(train + tested) == [(seed, seed % 2) for seed in range(20)]
    assert [label for _, label in tested].count(0) == [label for _, label in tested].count(1) == 3


def test_parquet_as_hugging_face_writes_it(tmp_path):
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    for name, seeds in (("train-00", (0, 1)), ("train-01", (2,)), ("test", (3,))):
        images = [{"bytes": stored(i), "path": None} for i in seeds]
        rows = {"image": images, "label": [(-1, 0, 1, 1)[i] for i in seeds]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / f"{name}.parquet"))
    splits = opened(s.Table(path=str(tmp_path / "train-*.parquet"), test=str(tmp_path / "test.parquet")))
    assert splits.classes == ("cat", "dog")
    assert read(splits.train) == [(0, -1), (1, 0), (2, 1)] and read(splits.test) == [(3, 1)]


def test_parquet_of_plain_columns_and_of_no_labels(tmp_path):
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


def test_shards_of_webdataset(tmp_path):
    shard(tmp_path / "train-0.tar", a_png=stored(0), a_cls=b"1", a_txt=b"words", b_cls=b"0", b_png=stored(1))
    shard(tmp_path / "train-1.tar", c_png=stored(2), d_txt=b"no image")
    shard(tmp_path / "val-0.tar", e_png=stored(3), e_cls=b"1\n")
    splits = opened(s.WebDataset(path=str(tmp_path / "train-*.tar"), test=str(tmp_path / "val-0.tar")))
    assert read(splits.train) == [(0, 1), (1, 0), (2, -1)] and read(splits.test) == [(3, 1)]
    assert splits.train.name(1).endswith("train-0.tar, b")
    assert splits.notes == (f"left out of {tmp_path}/train-*.tar: 1 samples without an image",)


def test_labels_in_json_and_shards_that_are_none(tmp_path):
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
        with pytest.raises(UserError, match=f"{name} is not an uncompressed .tar file, or is damaged|matches no shard"):
            opened(s.WebDataset(path=str(tmp_path / name)))


def test_a_folder_with_only_train_and_one_of_classes(tmp_path):
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
    with pytest.raises(UserError, match="split/val is missing: say which of test is the test split"):
        opened(s.ImageFolder(path=str(tmp_path / "split")))
    (tmp_path / "plain").rename(tmp_path / "split" / "training")
    (tmp_path / "split" / "train").rename(tmp_path / "split" / "validation")
    with pytest.raises(UserError, match="split/train is missing: data.source.path is a folder with train/CLASS"):
        opened(s.ImageFolder(path=str(tmp_path / "split")))


def test_images_without_labels_beside_classes_or_without_them(tmp_path):
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
    assert opened(mixed).notes == (f"left out of {tmp_path}/more: 1 no images (.txt)",)


def test_a_list_of_paths_without_labels(tmp_path):
    for seed in range(3):
        save(tmp_path / f"{seed}.png", seed)
    (tmp_path / "list.txt").write_text("# mine\n0.png\n\n2.png\n")
    source = s.Mixed(labelled=s.Digits(), unlabelled=s.Table(path=str(tmp_path / "list.txt")))
    splits = opened(source)
    assert splits.train.labels[-2:] == [-1, -1] and np.array_equal(read_rgb(splits.train.read(1348)), picture(2))

"""Files written by FFCV's own writer, with fields in any order, read in place by both engines."""

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.contract import Placement
from raykd.data import sources as s
from raykd.data.config import Data
from raykd.data.loader import TestLoader, TrainLoader
from raykd.data.storage.prepare import prepare
from raykd.data.transforms import Resize
from tests.support.toy import photograph

SIDE, COUNT = 40, 12


class Rows:
    """What FFCV's writer reads."""

    def __init__(self, order: str):
        self.order = order

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, i: int):
        parts = {"i": photograph(i, SIDE, SIDE), "l": i % 3, "f": 0.5, "b": np.arange(i + 1, dtype=np.uint8), "n": 7}
        return tuple(parts[key] for key in self.order)


def write(path, order: str, **mode):
    from ffcv.fields import BytesField, FloatField, IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    kinds = {
        "i": ("picture", RGBImageField(**mode)),
        "l": ("label", IntField()),
        "f": ("weight", FloatField()),
        "b": ("note", BytesField()),
        "n": ("number", IntField()),
    }
    writer = DatasetWriter(str(path), dict(kinds[key] for key in order), num_workers=2)
    writer.from_indexed_dataset(Rows(order), chunksize=5)
    return path


@pytest.mark.parametrize("order", ["il", "li", "nbfli"])
@pytest.mark.parametrize("mode", [{"write_mode": "raw"}, {"write_mode": "jpg", "jpeg_quality": 97}, "proportion"])
@pytest.mark.parametrize("loader", ["ffcv", "torch"])
def test_images_and_labels_are_read_as_written(tmp_path, order, mode, loader):
    mode = {"write_mode": "proportion", "compress_probability": 0.5} if mode == "proportion" else mode
    path = write(tmp_path / "x.beton", order, **mode)
    before = path.stat().st_mtime_ns
    data = Data(
        source=s.Beton(train=str(path), test=str(path)),
        image_size=SIDE,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        test=(Resize(size=SIDE),),
        loader=loader,
        root=str(tmp_path / "root"),
    )
    prepared = prepare(data)
    assert prepared.classes == ("0", "1", "2") and prepared.sides == (SIDE, SIDE)
    reader = TestLoader(data, prepared, Placement(torch.device("cpu"), 1), batch_size=COUNT)
    (batch,) = reader.batches()
    assert batch.labels.tolist() == [i % 3 for i in range(COUNT)]
    expected = np.stack([photograph(i, SIDE, SIDE) for i in range(COUNT)]).transpose(0, 3, 1, 2)
    error = np.abs(batch.images.numpy() * 255 - expected)
    assert error.max() < 1 if mode["write_mode"] == "raw" else error.mean() < 6
    assert not (tmp_path / "root").exists() and path.stat().st_mtime_ns == before


def test_missing_fields_and_labels_are_named(tmp_path):
    path = write(tmp_path / "x.beton", "nfil")
    with pytest.raises(UserError, match="no image field 'image': it has picture; choose one with data.source.image"):
        s.Beton(train=str(path), image="image").prepared()
    with pytest.raises(UserError, match="no integer field 'kind': it has number, label"):
        s.Beton(train=str(path), label="kind").prepared()
    with pytest.raises(UserError, match="labels 0 to 2, but must have labels from 0 to at most 1"):
        s.Beton(train=str(path), classes=("a", "b")).prepared()
    with pytest.raises(UserError, match="no training image of class d"):
        s.Beton(train=str(path), classes=("a", "b", "c", "d")).prepared()
    with pytest.raises(UserError, match=r"nowhere\.beton can't be read"):
        s.Beton(train=str(tmp_path / "nowhere.beton")).prepared()


def test_validation_is_required_without_a_test_file(tmp_path):
    path = write(tmp_path / "x.beton", "il")
    plain = {"source": s.Beton(train=str(path)), "image_size": SIDE, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    placement = Placement(torch.device("cpu"), 1)
    with pytest.raises(UserError, match="no test split: hold out a share of the training images with data.validation"):
        TestLoader(Data(**plain), prepare(Data(**plain)), placement, batch_size=4)
    data = Data(**plain, validation=0.25)
    held, train = (
        TestLoader(data, prepare(data), placement, batch_size=4),
        TrainLoader(data, prepare(data), placement, batch_size=4, seed=0),
    )
    assert (held.size, train.size) == (3, 9)
    measured = Data(source=s.Beton(train=str(path)), image_size=SIDE, validation=0.25)
    with pytest.raises(UserError, match=r"data\.mean, data\.std: existing \.beton files have no measured values"):
        TrainLoader(measured, prepare(measured), placement, batch_size=4, seed=0)

"""The loaders are pure functions of (seed, pass, index): equal for any number of workers, engine and process."""

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

import raykd
from raykd import UserError
from raykd.contract import Placement
from raykd.data.config import Encoding
from raykd.data.loader import TestLoader, TrainLoader
from raykd.data.mixing import CutMix, Mixup, share
from raykd.data.storage.prepare import prepare
from raykd.data.transforms import CenterCrop, ColorJitter, Flip, RandAugment, RandomCrop, RandomResizedCrop, Resize
from tests.support.toy import Toy

BATCH = 8


def train(data, rank=0, world=1, seed=3, batch_size=BATCH, **changes):
    placement = Placement(torch.device("cpu"), 2, rank, world)
    return TrainLoader(data, prepare(data), placement, batch_size=batch_size, seed=seed, **changes)


def read(loader, start, stop):
    result = list(loader.batches(start, stop))
    return result


def assert_same(left, right):
    for a, b in zip(left[:3], right[:3], strict=True):  # images, labels, positions
        assert torch.equal(a, b)


def joined(data, world, start, stop, **changes):
    """Global batches, assembled from the shares of `world` workers."""
    parts = [read(train(data, rank, world, **changes), start, stop) for rank in range(world)]
    rows = ((batch[:3] for batch in row) for row in zip(*parts, strict=True))
    return [tuple(torch.cat(pieces) for pieces in zip(*row, strict=True)) for row in rows]


def everything():
    return (RandomResizedCrop(), Flip(), ColorJitter(brightness=0.3, hue=0.1), RandAugment())


@pytest.mark.parametrize("mixing", [None, Mixup(), Mixup(variant="uniform"), CutMix()])
@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_workers_share_the_same_global_batches(toy, mixing, encoding):
    changes = {"mixing": mixing} if mixing else {}
    data = toy(encoding=Encoding(mode=encoding), train=everything(), **changes)
    alone = read(train(data), 0, 6)
    for world in (2, 3):
        for whole, parts in zip(alone, joined(data, world, 0, 6), strict=True):
            assert_same(whole, parts)


def test_reading_can_start_at_any_step(toy):
    data = toy()
    whole = read(train(data), 0, 9)
    for start, stop in ((4, 9), (8, 9), (3, 3)):
        for a, b in zip(whole[start:stop], read(train(data), start, stop), strict=True):
            assert_same(a, b)


def test_epochs_and_seeds_have_different_orders(toy):
    data = toy()
    batches = read(train(data), 0, 8)  # 64 positions: two passes of 30 and a bit
    index = torch.cat([batch.index for batch in batches])
    assert sorted(index[:30].tolist()) == sorted(index[30:60].tolist()) == list(range(30))
    images = torch.cat([batch.images for batch in batches])
    first, second = images[:30][index[:30].argsort()], images[30:60][index[30:60].argsort()]
    assert (first != second).flatten(1).any(1).float().mean() > 0.9
    other = read(train(data, seed=4), 0, 1)[0]
    assert not torch.equal(other.index, batches[0].index)


def test_a_batch_may_be_larger_than_the_data_set(toy):
    data = toy()
    batch = read(train(data, batch_size=70), 1, 2)[0]
    assert sorted(batch.index[20:50].tolist()) == list(range(30))  # positions 90 … 119: the fourth pass


def test_another_process_reads_the_same_bytes(toy):
    data = toy(train=everything(), encoding=Encoding(mode="jpeg"), mixing=Mixup())
    expected = torch.stack([batch.images for batch in read(train(data), 2, 4)])
    script = f"""
import sys; sys.path[:0] = {[str(Path(__file__).parent), str(Path(raykd.__file__).parents[1])]!r}
import hashlib
from tests.support.toy import Toy
from raykd.data.config import *
from raykd.data.mixing import *
from raykd.data.transforms import *
import test_reading, torch
data = {data!r}
images = torch.stack([batch.images for batch in test_reading.read(test_reading.train(data), 2, 4)])
print(hashlib.sha256(images.numpy().tobytes()).hexdigest())
"""
    import hashlib

    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=True)
    assert result.stdout.strip() == hashlib.sha256(expected.numpy().tobytes()).hexdigest()


def test_torch_engine_gives_the_same_batches(toy):
    for mixing in ({}, {"mixing": Mixup()}):
        ffcv = toy(encoding=Encoding(mode="raw"), **mixing)
        torch_ = dataclasses.replace(ffcv, loader="torch")
        for a, b in zip(read(train(ffcv), 3, 6), read(train(torch_), 3, 6), strict=True):
            assert_same(a, b)


def test_images_are_normalised(toy):
    data = toy(train=(), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    source = data.source.open(None, False)
    batch = read(train(data), 0, 1)[0]
    for image, label, index in zip(*batch[:3], strict=True):
        pixels = source.train.read(int(index)).transpose(2, 0, 1) / 255.0
        expected = (pixels - np.array(data.mean)[:, None, None]) / np.array(data.std)[:, None, None]
        np.testing.assert_allclose(image.numpy(), expected, atol=1e-5)
        assert label == source.train.labels[index]


def test_channels_last_only_changes_the_layout(toy):
    data = toy()
    plain, last = read(train(data), 0, 1)[0], read(train(data, channels_last=True), 0, 1)[0]
    assert torch.equal(plain.images, last.images)
    assert plain.images.is_contiguous() and last.images.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("loader", ["ffcv", "torch"])
@pytest.mark.parametrize(("world", "batch_size"), [(1, 4), (1, 50), (2, 4), (3, 7), (11, 4)])
def test_every_test_sample_is_read_exactly_once(toy, loader, world, batch_size):
    data = toy(test=(Resize(size=18), CenterCrop()), loader=loader)
    seen = []
    for rank in range(world):
        placement = Placement(torch.device("cpu"), 1, rank, world)
        part = TestLoader(data, prepare(data), placement, batch_size=batch_size)
        assert part.size == 11
        seen += [index for batch in part.batches() for index in batch.index.tolist()]
    assert sorted(seen) == list(range(11))


def test_validation_images_are_held_out_of_training(toy):
    data = toy(validation=0.3, test=())
    loader = train(data)
    held = TestLoader(data, prepare(data), Placement(torch.device("cpu"), 1), batch_size=4)
    trained = {index for batch in read(loader, 0, 10) for index in batch.index.tolist()}
    tested = [index for batch in held.batches() for index in batch.index.tolist()]
    assert (loader.size, held.size) == (21, 9) and len(trained) == 21
    assert not trained & set(tested) and sorted(trained | set(tested)) == list(range(30))


def test_mixup_pairs_each_image_with_the_one_before(toy):
    plain, mixed = toy(train=()), toy(train=(), mixing=Mixup(variant="uniform"))
    for step, (a, b) in enumerate(zip(read(train(plain), 0, 4), read(train(mixed), 0, 4), strict=True)):
        lam = share(mixed.mixing, 3, step)
        torch.testing.assert_close(b.images, a.images * lam + a.images.roll(1, 0) * (1 - lam))
        hot = torch.nn.functional.one_hot(a.labels, 3).float()
        torch.testing.assert_close(b.labels, hot * lam + hot.roll(1, 0) * (1 - lam))
        assert torch.equal(a.index, b.index)


def test_cutmix_weights_labels_by_area(toy):
    plain, mixed = toy(train=()), toy(train=(), mixing=CutMix())
    for a, b in zip(read(train(plain), 0, 4), read(train(mixed), 0, 4), strict=True):
        own = (a.images == b.images).all(1)
        partner = (a.images.roll(1, 0) == b.images).all(1)
        assert (own | partner).all()
        share_of_partner = (~own).float().flatten(1).mean(1).max()  # equal pixels of both images count as own
        hot = torch.nn.functional.one_hot(a.labels, 3).float()
        lam = (b.labels[0] @ hot[0]) if not torch.equal(hot[0], hot[-1]) else 1 - share_of_partner
        torch.testing.assert_close(b.labels, hot * lam + hot.roll(1, 0) * (1 - lam))
        assert abs(1 - lam - share_of_partner) < 0.02


def test_lambda_follows_its_distribution():
    from scipy import stats

    half = [share(Mixup(), 0, step) for step in range(3000)]
    assert stats.kstest(half, stats.uniform(0.5, 0.5).cdf).pvalue > 1e-3
    assert stats.kstest([share(Mixup(variant="uniform"), 0, s) for s in range(3000)], "uniform").pvalue > 1e-3
    assert stats.kstest([share(CutMix(alpha=0.4), 0, s) for s in range(3000)], stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


def test_closing_leaves_no_threads_or_memory(toy):
    import os

    import psutil

    data, process = toy(), psutil.Process()
    loader = train(data, batch_size=1024)  # an epoch has buffers of 4 MB: 50 leaked ones could not be missed
    list(loader.batches(0, 4))
    sizes = []
    for epoch in range(60):
        for number, _ in enumerate(loader.batches(3 * epoch, 3 * epoch + 3)):
            if number == epoch % 4:  # most epochs are left in the middle
                break
        sizes.append(process.memory_info().rss)
    assert [t for t in threading.enumerate() if type(t).__name__ == "EpochIterator"] == []
    assert sizes[-1] - sizes[9] < 64 << 20
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        read(train(data), 0, 1)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_torchs_number_of_threads_is_unchanged(toy):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        read(train(toy()), 0, 3)  # two threads
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("loader", ["ffcv", "torch"])
def test_a_corrupt_image_is_named_and_threads_end(toy, loader):
    data = toy(encoding=Encoding(mode="jpeg"), train=(RandomResizedCrop(),), loader=loader)
    prepared = prepare(data)
    content = bytearray(prepared.train.read_bytes())
    start = content.index(b"\xff\xd8\xff")
    content[start : start + 200] = bytes(200)
    prepared.train.write_bytes(content)
    with pytest.raises(UserError, match=r"train\.beton: image 0 is corrupt"):
        read(train(data), 0, 4)
    assert [t for t in threading.enumerate() if type(t).__name__ == "EpochIterator"] == []


def test_wrong_sizes_and_settings_are_rejected(toy):
    with pytest.raises(UserError, match="16×16.*image_size 32"):
        train(toy(image_size=32, train=()))
    with pytest.raises(UserError, match="16×16.*image_size 32"):
        train(toy(image_size=32, train=(RandomCrop(padding=2),)))
    with pytest.raises(UserError, match="data.test may contain only Resize and CenterCrop, not Flip"):
        data = toy(test=(Flip(),))
        TestLoader(data, prepare(data), Placement(torch.device("cpu"), 1), batch_size=4)
    with pytest.raises(UserError, match="too small for 3 workers"):
        train(toy(), rank=0, world=3, batch_size=2)
    with pytest.raises(UserError, match="has 11 image.*too few for 12 workers"):
        data = toy()
        TestLoader(data, prepare(data), Placement(torch.device("cpu"), 1, 0, 12), batch_size=4)


def test_missing_ffcv_says_what_to_install(toy):
    script = """
import sys; sys.modules["ffcv"] = None
from raykd import UserError
try:
    import raykd.data.ffcv.engine
except UserError as error:
    print(error)
"""
    root = str(Path(raykd.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=root, timeout=60, check=True
    )
    assert "pip install ffcv" in result.stdout and "--data.loader torch" in result.stdout
    assert Toy.name == "toy"

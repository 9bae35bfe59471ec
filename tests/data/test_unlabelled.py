"""Unlabelled images: their share of the samples; rejected by methods that require labels, used by others."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from raykd import UserError
from raykd.__main__ import main
from raykd.contract import Placement
from raykd.data import order
from raykd.data.examples import Splits
from raykd.data.loader import TestLoader, TrainLoader
from raykd.data.mixing import Mixup
from raykd.data.storage.prepare import prepare
from raykd.losses import cross_entropy
from raykd.methods.aver_mkd import AverMKD
from raykd.methods.ca_mkd import CAMKD
from raykd.methods.dkd import DKD
from raykd.methods.funmatch import FunMatch
from raykd.methods.kd import KD
from raykd.methods.supervised import Supervised
from raykd.recipes.digits.kd import recipe as kd
from raykd.training.setup import expect_labels
from tests.support.toy import Toy, photograph


@dataclass(frozen=True, kw_only=True)
class Half(Toy):
    """The last `unlabelled` of the 30 training images have no label."""

    name: ClassVar[str] = "half"
    unlabelled: int = 18

    def open(self, root: Path, download: bool) -> Splits:
        whole = super().open(root, download)
        labels = [*whole.train.labels[: self.train - self.unlabelled], *[-1] * self.unlabelled]
        return whole._replace(train=whole.train._replace(labels=labels))


PLACEMENT = Placement(torch.device("cpu"), 1)


def indices(data, steps, world=1):
    """Positions in the order in which all workers together read them."""
    placements = [Placement(torch.device("cpu"), 1, rank, world) for rank in range(world)]
    loaders = [TrainLoader(data, prepare(data), each, batch_size=10, seed=1) for each in placements]
    parts = [[loader.tags(step, step + 1)[0] for step in range(steps)] for loader in loaders]
    return np.concatenate([np.concatenate(rows) for rows in zip(*parts, strict=True)])


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_labelled_images_are_evenly_distributed(toy, share):
    data = toy(source=Half(), labelled_share=share)
    tags = indices(data, 60)
    labelled = (tags & order.INDEX_MASK) < 12
    assert abs(labelled.cumsum() - share * np.arange(1, 601)).max() <= 1
    for mine, size in ((labelled, 12), (~labelled, 18)):  # each stream reads all of its images before any of them again
        stream = tags[mine][: mine.sum() // size * size].reshape(-1, size)
        assert all(len(set((row & order.INDEX_MASK).tolist())) == size for row in stream)
        assert all((row >> order.PASS_SHIFT == number).all() for number, row in enumerate(stream))


def test_the_order_is_the_same_for_all_workers_and_steps(toy):
    data = toy(source=Half(), labelled_share=0.3)
    alone = indices(data, 12)
    assert np.array_equal(alone, indices(data, 12, world=3))
    loader = TrainLoader(data, prepare(data), PLACEMENT, batch_size=10, seed=1)
    assert np.array_equal(alone[70:], loader.tags(7, 12).reshape(-1))


def test_without_a_share_all_images_are_read_equally_often(toy):
    tags = indices(toy(source=Half()), 3)
    assert sorted((tags & order.INDEX_MASK).tolist()) == list(range(30))


def test_unlabelled_images_are_never_held_out_nor_evaluated(toy):
    data = toy(source=Half(), validation=0.5, test=())
    held = TestLoader(data, prepare(data), PLACEMENT, batch_size=4)
    assert held.size == 6 and max(held.subset) < 12
    assert TrainLoader(data, prepare(data), PLACEMENT, batch_size=4, seed=0).unlabelled == 18


def test_mixing_gives_unlabelled_images_no_class(toy):
    data = toy(source=Half(unlabelled=29, train=30), mixing=Mixup(), labelled_share=0.0)
    with pytest.raises(UserError, match="no training image of class b, c"):
        prepare(data)
    data = toy(source=Half(), mixing=Mixup(), labelled_share=0.0)
    (batch,) = TrainLoader(data, prepare(data), PLACEMENT, batch_size=6, seed=0).batches(0, 1)
    assert batch.labels.shape == (6, 3) and not batch.labels.any()


@pytest.mark.parametrize("share, kind", [(0.5, "unlabelled"), (0.0, "unlabelled")])
def test_a_share_of_missing_images_is_rejected(toy, share, kind):
    data = toy(labelled_share=share)
    with pytest.raises(UserError, match=f"data.labelled_share: .* no training image is {kind}"):
        TrainLoader(data, prepare(data), PLACEMENT, batch_size=6, seed=0)


@pytest.mark.parametrize(
    "share, message",
    [
        (0.01, "is too small to hold out an image: increase it"),
        (0.99, "leaves no training images of class a: lower it"),
    ],
)
def test_validation_shares_that_leave_no_images_are_rejected(toy, share, message):
    data = toy(validation=share, test=())
    with pytest.raises(UserError, match=rf"data\.validation: {share} .*{message}"):
        for loader in (TestLoader, TrainLoader):
            loader(data, prepare(data), PLACEMENT, batch_size=4, **({"seed": 0} if loader is TrainLoader else {}))


@pytest.mark.parametrize(
    "config, reads",
    [
        (Supervised.Config(), True),
        (KD.Config(), True),
        (KD.Config(gamma=0.0), False),
        (FunMatch.Config(), False),
        (DKD.Config(gamma=0.0), True),
        (AverMKD.Config(gamma=0.0), False),
        (AverMKD.Config(), True),
        (CAMKD.Config(gamma=0.0), True),
    ],
)
def test_methods_that_require_labels_reject_unlabelled_images(toy, config, reads):
    data = toy(source=Half())
    recipe = replace(kd, data=data, method=config)
    loader = TrainLoader(data, prepare(data), PLACEMENT, batch_size=4, seed=0)
    assert config.reads_labels is reads
    if reads:
        with pytest.raises(UserError, match="requires labels, which 18 of 30 training images don't have"):
            expect_labels(recipe, loader)
    else:
        expect_labels(recipe, loader)
    only = replace(data, labelled_share=1.0)
    expect_labels(replace(recipe, data=only), TrainLoader(only, prepare(only), PLACEMENT, batch_size=4, seed=0))


def test_a_term_with_weight_0_is_0_without_labels():
    logits = torch.randn(5, 3, requires_grad=True)
    loss = 0.0 * cross_entropy(logits, torch.full((5,), -1))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


RECIPE = """
from dataclasses import replace
from raykd.data.sources import Digits, Images, Mixed
from raykd.methods.{module} import {name}
from raykd.recipe import Run, Teachers
from raykd.recipes.digits.{base} import recipe as base

recipe = replace(
    base, workers=0, epochs=1, method={name}.Config(), teachers=Teachers(sources=({teachers})),
    data=replace(base.data, source=Mixed(labelled=Digits(), unlabelled=Images(path="photos")), labelled_share=0.0),
)
"""


def test_funmatch_trains_on_unlabelled_images_and_supervised_rejects_them(tmp_path, monkeypatch, capsys):
    root = Path(__file__).parents[2]
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(root))
    for i in range(300):
        path = tmp_path / "photos" / str(i % 7) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph(i, 32, 32)).save(path)
    common = ["--storage", "runs", "--data.root", str(tmp_path / "data"), "--wandb.mode", "disabled"]
    teacher = ["train", str(root / "recipes/digits/supervised.py"), "--workers", "0", "--epochs", "0.2"]
    assert main([*teacher, "--name", "teacher", *common]) == 0
    taught = {"module": "funmatch", "name": "FunMatch", "base": "funmatch", "teachers": "Run(path='runs/teacher'),"}
    Path("unlabelled_funmatch.py").write_text(RECIPE.format(**taught))
    capsys.readouterr()
    status = main(["train", "unlabelled_funmatch.py", "--name", "student", *common])
    assert status == 0, capsys.readouterr().err
    alone = {"module": "supervised", "name": "Supervised", "base": "supervised", "teachers": ""}
    Path("unlabelled_supervised.py").write_text(RECIPE.format(**alone))
    capsys.readouterr()
    assert main(["train", "unlabelled_supervised.py", "--name", "refused", *common]) == 2
    said = capsys.readouterr().err
    assert "Supervised requires labels, which some training images don't have" in said and said.count("\n") == 1

"""Batches and evaluations on a busy GPU that lags behind the host equal those on the CPU."""

import copy
from dataclasses import replace

import pytest
import torch

from raykd.data.loader import TestLoader, TrainLoader
from raykd.data.mixing import CutMix, Mixup
from raykd.data.storage.prepare import prepare
from raykd.models import create
from raykd.recipes.digits.supervised import recipe
from raykd.training.evaluation.evaluate import collect, evaluate

CPU = torch.device("cpu")


def keep_busy(device):
    """Work of about a tenth of a second, behind which everything else queues."""
    if device.type == "cuda":
        torch.cuda._sleep(150_000_000)


@pytest.fixture(params=["ffcv", "torch"])
def loader(request):
    if request.param == "ffcv":
        pytest.importorskip("ffcv")
    return request.param


def opened(cls, data, device, **more):
    place = {"rank": 0, "world": 1, "device": device, "threads": 2, "channels_last": True}
    return cls(data, prepare(data), batch_size=64, **place, **more)


@pytest.mark.parametrize("mixing", [None, Mixup(), CutMix()], ids=["plain", "mixup", "cutmix"])
def test_batches_equal_the_cpus(device, loader, mixing):
    data = replace(recipe.data, loader=loader, **({"mixing": mixing} if mixing else {}))
    here, there = opened(TrainLoader, data, CPU, seed=1), opened(TrainLoader, data, device, seed=1)
    expected = [(b.images.clone(), b.labels.clone(), b.index.clone()) for b in here.batches(0, 30)]
    found = []
    for batch in there.batches(0, 30):
        keep_busy(device)
        found.append((batch.images.clone(), batch.labels.clone(), batch.index.clone()))
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(b.cpu(), a, rtol=0, atol=1e-6)


def test_evaluation_equals_the_cpus(device, loader):
    data = replace(recipe.data, loader=loader)
    torch.manual_seed(0)
    network = create("resnet8", 10, data.image_size).eval()
    results = []
    for place in (CPU, device):
        test = opened(TestLoader, data, place)
        mine = copy.deepcopy(network).to(place)
        plain = lambda: torch.autocast(place.type, enabled=False)  # noqa: B023, E731

        def predict(images, mine=mine, place=place):
            keep_busy(place)
            return {"student": mine(images)}

        taught = {"a teacher": collect(mine, test.batches(), plain)}
        results.append(evaluate(predict, test.batches(), plain, taught)[0]["student"])
    here, there = results
    assert there.top1 == pytest.approx(here.top1, abs=2e-3) and there.loss == pytest.approx(here.loss, rel=1e-4)
    assert there.per_class_count == here.per_class_count and there.agreement["a teacher"]["top1"] == 1

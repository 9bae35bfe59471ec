"""A replica of a worker's teachers in another process gives identical bytes."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from raykd.contract import Placement
from raykd.data.mixing import Mixup
from raykd.models import create
from raykd.models.config import Network
from raykd.recipe import Precision, Pretrained, Teachers
from raykd.teachers.load import load_teachers
from raykd.teachers.outputs import split_batch, teacher_outputs
from raykd.teachers.precision import autocast
from raykd.training import teacher_replica as replica
from tests.support import tiny_training as tiny

FEATURES = (("stage2",), ("stage2", "pooled"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Two teachers from files, whose maps lie channels last."""
    sources = []
    for seed, name in enumerate(("resnet8", "vgg8")):
        torch.manual_seed(seed)
        path = tmp_path_factory.mktemp("teachers") / "weights.safetensors"
        save_file(create(name, 10, image_size=32).model.state_dict(), path)
        pixels = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
        sources.append(Pretrained(network=Network(name=name, weights=str(path)), **pixels))
    base = tiny.recipe(epochs=2, batch_size=30, precision=Precision(autocast="bfloat16"), accumulate=2)
    return replace(base, teachers=Teachers(sources=tuple(sources)), data=replace(base.data, mixing=Mixup()))


def expected(recipe, rank, world, start, stop):
    """Outputs by step and part, as the worker's own teachers give them."""
    train, _ = tiny.data(recipe, rank, world)
    train.normalizer.format = torch.channels_last
    teachers, context = load_teachers(recipe.teachers, recipe.data, "0123456789", ()), autocast(recipe, tiny.CPU)
    batches = zip(range(start, stop), train.batches(start, stop), strict=True)
    return {
        step: [teacher_outputs(teachers, FEATURES, p.images, context) for p in split_batch(batch, 2)]
        for step, batch in batches
    }


def tensors(parts):
    return [
        ((k, name), tensor)
        for part in parts
        for k, output in enumerate(part)
        for name, tensor in [("logits", output.logits), *output.features.items()]
    ]


def test_a_replica_equals_inline_teachers_from_any_step(recipe, monkeypatch):
    monkeypatch.setattr(replica, "SPAN", 2)  # spans end on the way
    for rank in range(2):
        wanted = expected(recipe, rank, 2, 41, 49)  # the second pass begins in step 44
        apart = replica.TeacherReplica(recipe, (), FEATURES, Placement(tiny.CPU, 1, rank, 2), stride=3)
        for step in (42, 45, 48, 41, 44, 46, 42):
            found = tensors([[replica.unpack(output) for output in part] for part in apart.outputs(step)])
            assert len(found) == 2 * (2 + 3)
            for (of, got), (also_of, want) in zip(found, tensors(wanted[step]), strict=True):
                assert (of, got.dtype, got.shape) == (also_of, want.dtype, want.shape)
                assert torch.equal(got, want), (rank, step, of)
                assert got.stride() == want.stride(), (of, got.stride(), want.stride())


def test_strided_batches_are_every_nth_batch(recipe):
    train, _ = tiny.data(recipe)
    every = list(train.batches(3, 13))
    some = list(train.batches(3, 13, 4))
    assert len(some) == 3
    for one, other in zip(every[::4], some, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))

"""Frozen teachers on a GPU: fused, in lower precision, compiled, cached and remote ones equal plain ones."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.frozen.fused import fuse, trace_network
from raykd.teachers.cache.claims import Claims
from raykd.teachers.cache.formats import Full
from raykd.teachers.cache.row_files import Layout, RowFiles
from raykd.teachers.cache.teacher_cache import TeacherCache, TensorCache
from raykd.teachers.cache.write_behind import WriteBehind
from raykd.teachers.frozen_teacher import FrozenTeacher, TeacherPrecision
from raykd.teachers.outputs import output_to_device
from tests.gpu import runs

NETWORKS = ["resnet56", "resnet8x4", "vgg13", "wrn_40_2", "shufflenetv1", "torchvision:resnet50"]
FORMS = [
    (TeacherPrecision(), 1e-4),
    (TeacherPrecision("recipe", "one by one"), 1e-4),
    (TeacherPrecision("recipe", "compiled"), 1e-3),
]
FORMS += [(TeacherPrecision("bfloat16"), 3e-2), (TeacherPrecision("float16"), 1e-2)]


def teacher(name, device, form=TeacherPrecision()):
    torch.manual_seed(3)
    size = 64 if ":" in name else 32
    return FrozenTeacher(name, freeze(create(name, 10, size)).to(device), "", 0, precision=form)


@pytest.mark.parametrize(("form", "error"), FORMS, ids=lambda value: str(value))
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_every_precision_gives_the_plain_networks_outputs(device, name, form, error):
    if device.type == "cpu" and form.precision == "float16":
        pytest.skip("for GPUs")
    taught = teacher(name, device, form)
    size = taught.network.image_size
    images = torch.randn(8, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    features = (taught.network.last_stage, "pooled")
    expected, found = taught.network.output(images, features), taught.output(images, features)
    for one, other in ((expected.logits, found.logits), *((expected.features[n], found.features[n]) for n in features)):
        assert other.dtype == torch.float32 and (one - other).norm() / one.norm() < error


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_captured_pass_is_bit_identical(device, name):
    """Equal to the same fused kernels, launched one by one; batches of two sizes in turns; earlier outputs stay."""
    captured = teacher(name, device)
    size = captured.network.image_size
    features = (captured.network.last_stage, "pooled")
    fused = fuse(trace_network(captured.network, features))
    batches = [torch.randn(n, 3, size, size, device=device) for n in (8, 8, 4, 8, 4)]
    found = [captured.output(images, features) for images in batches]
    for images, output in zip(batches, found, strict=True):
        logits, *maps = fused(images)
        assert torch.equal(output.logits, logits)
        assert all(torch.equal(output.features[n], expected) for n, expected in zip(features, maps, strict=True))


@torch.no_grad()
def test_cached_outputs_equal_the_teachers(device, tmp_path):
    taught = teacher("resnet8x4", device)
    images = torch.randn(8, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    features = (taught.network.last_stage, "pooled")
    shapes = {"logits": (10,)} | {name: taught.network.shapes[name] for name in features}
    writer, at = WriteBehind(pytest.fail), np.arange(8)
    tensors = {name: tensor_cache(tmp_path / name, shape) for name, shape in shapes.items()}
    cache = TeacherCache(tensors, writer, Claims(tmp_path))
    live = taught.output(images, features)
    first = cache.output(at, device, lambda: live)
    writer.close()
    again = cache.output(at, device, lambda: pytest.fail("it is there"))
    for one in (first, again):
        assert torch.equal(one.logits, live.logits) and one.logits.device == live.logits.device
        for name in features:
            assert torch.equal(one.features[name], live.features[name])
            assert one.features[name].stride() == live.features[name].stride()


def tensor_cache(folder, shape):
    folder.mkdir()
    form = Full(shape, "float32")
    return TensorCache(folder.name, form, RowFiles(folder, Layout(form.bytes, 100), pytest.fail))


@torch.no_grad()
def test_remote_outputs_are_unchanged(device):
    from raykd.training.teacher_replica import _pack, unpack

    taught = teacher("resnet8x4", device)
    output = taught.output(torch.randn(8, 3, 32, 32, device=device), (taught.network.last_stage,))
    back = output_to_device(unpack(_pack(output)), device)
    assert torch.equal(back.logits, output.logits)
    for name, feature in output.features.items():
        assert torch.equal(back.features[name], feature) and back.features[name].stride() == feature.stride()


@pytest.mark.parametrize("form", [TeacherPrecision("bfloat16"), TeacherPrecision("recipe", "compiled")], ids=str)
def test_teacher_precision_hardly_changes_the_losses(device, form):
    plain = runs.losses(runs.running("KD", device), 3)
    other = runs.losses(runs.running("KD", device, form=form), 3)
    assert other == pytest.approx(plain, rel=3e-2)


@pytest.mark.parametrize("method", ["kd", "ca_mkd"])
def test_remote_teachers_give_the_same_student_as_inline(device, method, tmp_path):
    """Worker and actor share the GPU; in the deterministic mode, so that both runs round alike."""
    if device.type == "cpu":
        pytest.skip("for GPUs")
    changes = ["--epochs", "2", "--precision.deterministic", "--gpus-per-worker", "0.4", "--workers", "1"]
    taught = ["--teachers.sources.0.recipe.epochs", "1", "--teachers.sources.0.recipe.gpus-per-worker", "0.4"]
    where = {"inline": [], "remote": ["--teachers.placement", "remote", "--teachers.gpus-per-actor", "0.4"]}
    for name, placement in where.items():
        command = [sys.executable, "-m", "raykd", "train", f"recipes/digits/{method}.py", "--name", name]
        command += ["--storage", str(tmp_path), "--wandb.mode", "disabled", *changes, *taught, *placement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=550)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    inline, remote = (load_file(tmp_path / name / "student.safetensors") for name in where)
    assert all(torch.equal(inline[key], remote[key]) for key in inline)

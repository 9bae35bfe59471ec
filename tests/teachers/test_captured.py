"""Teacher passes as CUDA graphs: on a simulated GPU, and with simulated graphs that repeat their pass in replay."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.staged import Parts, Staged
from raykd.teachers import captured, frozen_teacher
from raykd.teachers.captured import MOST, Capture, Captured
from raykd.teachers.frozen_teacher import FrozenTeacher, TeacherPrecision
from tests.support.gpu_step import frozen
from tests.support.simulated_gpu import CUDA, CaptureError, Trace, simulated_gpu


def traced_pass(form: TeacherPrecision, features=()) -> Trace:
    """What the second pass of a ResNet-8 does to the simulated GPU."""
    teacher = frozen(create("resnet8", 10, 32), form)
    with simulated_gpu():
        teacher.network.to(CUDA)
        images = torch.empty(4, 3, 32, 32, device=CUDA)
        for _ in range(2):
            with Trace() as trace, torch.no_grad():
                teacher.output(images, features)
    return trace


@pytest.mark.parametrize("features", [(), ("stage1", "pooled")])
def test_a_captured_pass_launches_fewer_kernels_and_all_at_once(features):
    one_by_one, graph = (
        traced_pass(TeacherPrecision("recipe", launch), features) for launch in ("one by one", "captured")
    )
    copies = 2 + len(features)  # the images in; the logits and the features out
    relus = one_by_one.operations["aten.relu_.default"] + one_by_one.operations["aten.relu.default"]
    assert relus == 7  # of ResNet-8, each fused with a convolution, or with a convolution and a sum
    fused = relus + one_by_one.operations["aten.add.Tensor"] + one_by_one.operations["aten.add_.Tensor"]
    assert graph.kernels == one_by_one.kernels - fused + copies and graph.launches == 1 + copies
    assert one_by_one.launches == one_by_one.kernels and not graph.waits


class Branching(nn.Module):
    """Its kernels depend on computed values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_an_untraceable_network_is_not_captured(monkeypatch):
    monkeypatch.setattr(frozen_teacher, "Captured", lambda run: pytest.fail("it may launch other kernels"))
    parts = {"conv": nn.Conv2d(3, 8, 1), "odd": Branching(), "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    model = nn.Sequential(OrderedDict(parts | {"fc": nn.Linear(8, 10)}))
    sections = {"stem": ("conv",), "stages": (("odd",),), "pool": ("pool", "flat"), "head": ("fc",)}
    network = Staged(Parts(model, **sections), name="branching", num_classes=10, image_size=8)
    with simulated_gpu():
        network.to(CUDA)
        frozen_teacher.runner(network, (), None, "captured")


def test_a_pass_that_synchronises_is_not_captured():
    def waiting(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x.to("cpu")
        return (x + 1,)

    with simulated_gpu(), pytest.raises(CaptureError, match="blocking copy"):
        captured.capture(waiting, torch.empty(4, 3, 8, 8, device=CUDA))


class Again:
    """A graph on the CPU: a replay repeats the pass and writes its values into the captured memory."""

    def __init__(self, run, images, outputs):
        self.run, self.images, self.outputs = run, images, outputs

    def replay(self) -> None:
        for old, new in zip(self.outputs, self.run(self.images), strict=True):
            old.copy_(new)


@pytest.fixture
def shapes(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes that have been captured; their graphs are those above."""
    found = []

    def capture(run, images):
        found.append(tuple(images.shape))
        inputs = images.clone()
        outputs = run(inputs)
        return Capture(Again(run, inputs, outputs), inputs, outputs)

    monkeypatch.setattr(captured, "capture", capture)
    return found


def test_each_pass_has_its_own_outputs_and_memory(shapes):
    run = Captured(lambda x: (2 * x, x.sum((1, 2, 3))))
    given = [torch.full((n, 3, 2, 2), float(n)) for n in (4, 4, 2, 4)] + [torch.ones(4, 3, 2, 2)]
    found = [run(images) for images in given]
    for images, (doubled, total) in zip(given, found, strict=True):
        assert torch.equal(doubled, 2 * images) and torch.equal(total, images.sum((1, 2, 3)))
    assert shapes == [(4, 3, 2, 2), (2, 3, 2, 2)]


def test_only_a_few_shapes_are_captured(shapes):
    run = Captured(lambda x: (x + 1,))
    for n in range(1, MOST + 3):
        assert torch.equal(run(torch.zeros(n, 3, 2, 2))[0], torch.ones(n, 3, 2, 2))
    assert len(shapes) == MOST


def test_nothing_is_captured_on_a_cpu(shapes):
    network = freeze(create("resnet8", 10, 32))
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        found = FrozenTeacher("resnet8", network, "", 0).output(images, ())
        assert torch.equal(found.logits, network(images)) and not shapes

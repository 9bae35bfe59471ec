"""A teacher's optimised pass is compared once with the network itself."""

import pytest
import torch

from raykd import UserError
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.teachers import frozen_teacher
from raykd.teachers.frozen_teacher import TeacherPrecision
from raykd.teachers.verified import verified

IMAGES = torch.linspace(-1, 1, 24).reshape(2, 3, 2, 2)


def plain(images):
    return images.sum((1, 2, 3)), images * 2


def rounded(images):
    return tuple(output.bfloat16().float() for output in plain(images))


def infinite(images):
    return tuple(output / 0 for output in plain(images))


def without_a_feature(images):
    return plain(images)[0], torch.zeros_like(images)


def of_other_images(images):
    return plain(images.flip(0))


@pytest.mark.parametrize(("run", "network"), [(plain, plain), (rounded, plain), (infinite, infinite)])
def test_outputs_equal_up_to_rounding_are_passed_on(run, network):
    for output, expected in zip(verified("net", run, network)(IMAGES), run(IMAGES), strict=True):
        assert torch.equal(output, expected)


@pytest.mark.parametrize("run", [without_a_feature, of_other_images, infinite])
def test_other_outputs_are_refused(run):
    with pytest.raises(UserError, match="pass of net gives other outputs.*--teachers.no-capture"):
        verified("net", run, plain)(IMAGES)


def test_only_the_first_outputs_are_compared():
    calls = []
    run = verified("net", plain, lambda images: (calls.append(1), *plain(images))[1:])
    for _ in range(3):
        run(IMAGES)
    assert len(calls) == 1


def test_a_wrongly_compiled_teacher_is_refused(monkeypatch):
    """By the teacher's first output, as a run has it."""
    network = freeze(create("resnet8", 10, 32))
    monkeypatch.setattr(torch, "compile", lambda graph: lambda images: tuple(-output for output in graph(images)))
    teacher = frozen_teacher.FrozenTeacher("t", network, "", 0, precision=TeacherPrecision("recipe", "compiled"))
    with torch.no_grad(), pytest.raises(UserError, match="pass of resnet8 gives other outputs"):
        teacher.output(torch.randn(2, 3, 32, 32), ("stage1",))

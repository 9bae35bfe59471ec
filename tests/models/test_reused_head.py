"""A student with the teacher's head as one network: built directly and by name, saved and loaded."""

import pytest
import torch

from raykd import UserError
from raykd.methods.simkd import SimKD
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.frozen.renormalize import renormalize
from raykd.models.reused_head import ReusedHead, projector

NAME = "reused:2:resnet8+resnet14"


def distiller(student: str, teacher: str):
    torch.manual_seed(5)
    frozen = freeze(create(teacher, 7, image_size=32))
    return SimKD.Config().build(lambda: create(student, 7, image_size=32), [frozen]).eval(), frozen


@pytest.mark.parametrize(
    "student, teacher", [("resnet8", "resnet8x4"), ("vgg8", "wrn_16_2"), ("resnet8", "timm:resnet18")]
)
def test_the_network_combines_student_projector_and_teacher_head(student: str, teacher: str):
    method, frozen = distiller(student, teacher)
    (whole,) = method.networks().values()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        own = method.student.output(images, (method.student.last_stage,)).features[method.student.last_stage]
        assert torch.allclose(whole(images), frozen.classify(method.projector(own)), atol=1e-6)
        assert torch.equal(whole(images), whole.model(images))
    heads = {id(p) for p in method.student.modules_of("head")["fc" if student != "vgg8" else "classifier"].parameters()}
    assert not heads & {id(p) for p in whole.parameters()}


def test_the_network_is_recreated_by_name(tmp_path):
    method, _ = distiller("resnet8", "resnet14")
    (whole,) = method.networks().values()
    assert isinstance(whole, ReusedHead) and whole.name == NAME
    again = create(NAME, 7, image_size=32).eval()
    again.model.load_state_dict(whole.model.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(images), whole(images))
        assert again.output(images, ("stage3", "pooled")).features["pooled"].shape == (2, 64)


def test_options_of_both_networks_are_supported():
    """A wider stem, a teacher of larger images with a pooled map of another size: by name and options, the same."""
    torch.manual_seed(6)
    options = {"stem_width": 16, "avg_down": True}
    teacher = create("timm:test_resnet", 7, image_size=96, options={"stem_type": "deep"})
    teacher = freeze(renormalize(teacher, (0.5,) * 3, (0.5,) * 3, (0.4,) * 3, (0.3,) * 3, 64))
    student = lambda: create("timm:test_resnet", 7, image_size=64, options=options)  # noqa: E731
    (whole,) = SimKD.Config().build(student, [teacher]).eval().networks().values()
    wanted = {"student.stem_width": 16, "student.avg_down": True, "teacher.stem_type": "deep", "teacher_size": 96}
    assert whole.options == wanted
    again = create(whole.name, 7, image_size=64, options=whole.options).eval()
    again.model.load_state_dict(whole.model.state_dict())
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(images), whole(images))
    with pytest.raises(UserError, match="no option 'depth'"):
        create(whole.name, 7, image_size=64, options={"depth": 3})


def test_only_student_and_projector_are_trained():
    method, _ = distiller("resnet8", "resnet14")
    (whole,) = method.networks().values()
    frozen = [name for name, p in whole.named_parameters() if not p.requires_grad]
    assert frozen == ["model.teacher.fc.weight", "model.teacher.fc.bias"]


@pytest.mark.parametrize(
    "name", ["reused:resnet8", "reused:0:resnet8+resnet14", "reused:x:resnet8+resnet14", "reused:2:resnet8"]
)
def test_an_invalid_name_is_rejected(name: str):
    with pytest.raises(UserError, match="reused:FACTOR:STUDENT.TEACHER"):
        create(name, 7, image_size=32)


def test_a_larger_map_is_pooled_to_the_teachers_size():
    part = projector((4, 8, 8), (6, 4, 4), factor=2).eval()
    assert part(torch.randn(2, 4, 8, 8)).shape == (2, 6, 4, 4)

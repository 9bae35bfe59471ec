"""CA-MKD's embeddings: the optimised computation equals the plain one."""

import copy

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from raykd.contract import Batch
from raykd.losses import spatial_mean
from raykd.methods.ca_mkd import CAMKD, embed, embedding, resize
from raykd.methods.supervised import Supervised
from raykd.models import create


@pytest.mark.parametrize("hidden", [0, 3])
@pytest.mark.parametrize("size", [(3, 3), (4, 4), (8, 8), (5, 7)], ids=str)
def test_pooling_an_enlarged_map_equals_resizing_first(hidden: int, size: tuple[int, int]):
    torch.manual_seed(0)
    plain = embedding(6, 5, hidden).double()
    cheap = copy.deepcopy(plain)
    maps = [torch.randn(3, 6, 4, 4, dtype=torch.float64).requires_grad_() for _ in range(2)]
    maps[1].data.copy_(maps[0].data)
    probe = torch.randn(3, 5, *size, dtype=torch.float64)
    expected, found = plain(resize(maps[0], size)), embed(cheap, maps[1], size)
    for output in (expected, found):
        (output * probe).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(maps[1].grad, maps[0].grad, rtol=1e-10, atol=1e-12)
    for one, other in zip(cheap.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-11)
    for one, other in zip(cheap.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_the_gradient_of_a_mean_keeps_the_memory_layout(layout: torch.memory_format):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    gradients = []
    x.register_hook(gradients.append)
    mean = spatial_mean(x)
    torch.testing.assert_close(mean, x.mean((2, 3)), rtol=1e-12, atol=1e-13)
    mean.square().sum().backward()
    assert gradients[0].is_contiguous(memory_format=layout)
    torch.testing.assert_close(gradients[0], (2 * mean / 20)[:, :, None, None].expand_as(x))


def operations(config, student: str, teachers: list) -> int:
    """Floating-point operations of convolutions and matrix products in one step on two images."""
    torch.manual_seed(0)
    distiller = config.build(lambda: create(student, 100, 32), teachers)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        outputs = [t.output(images, names) for t, names in zip(teachers, distiller.teacher_features)]
    with FlopCounterMode(display=False) as counter:
        step = distiller(Batch(images, torch.tensor([3, 7]), torch.arange(2)), outputs, 1.0)
        sum(step.terms.values()).backward()
    return counter.get_total_flops()


def test_three_embeddings_of_vgg8_add_less_than_seven_percent_to_its_operations():
    """Teachers' maps are 256×8×8, the student's is 512×4×4: at the teachers' size it would be 26 %."""
    teachers = [create("resnet8x4", 100, 32).eval().requires_grad_(False) for _ in range(3)]
    assert 1.0 < operations(CAMKD.Config(), "vgg8", teachers) / operations(Supervised.Config(), "vgg8", []) < 1.07

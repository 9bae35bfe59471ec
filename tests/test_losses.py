import numpy as np
import torch

from raykd import losses


def test_map_distance_is_the_mean_square_and_its_gradient_keeps_the_memory_layout():
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 3, 5, 4, 4))
    student = torch.tensor(a).to(memory_format=torch.channels_last).requires_grad_()
    found = losses.map_distance(student, torch.tensor(b))
    np.testing.assert_allclose(found.detach().numpy(), ((a - b) ** 2).mean((1, 2, 3)), rtol=1e-12)
    inside = []
    hooked = student * 1.0
    hooked.register_hook(lambda gradient: inside.append(gradient))
    losses.map_distance(hooked, torch.tensor(b).to(memory_format=torch.channels_last)).sum().backward()
    np.testing.assert_allclose(student.grad.numpy(), 2 * (a - b) / 80, rtol=1e-12)
    assert inside[0].is_contiguous(memory_format=torch.channels_last)

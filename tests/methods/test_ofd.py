"""OFD's margins, and its partial distance by the paper's cases."""

import numpy as np
import torch

from raykd.methods.ofd import negative_mean, partial_distance


def test_the_margin_is_the_mean_of_the_negative_values():
    teacher = np.random.default_rng(0).normal(size=(4, 3, 5, 5))
    teacher[:, 2] = abs(teacher[:, 2])
    expected = [teacher[:, c][teacher[:, c] < 0].mean() for c in (0, 1)] + [0.0]
    assert np.allclose(negative_mean(torch.from_numpy(teacher)).flatten().numpy(), expected)


def test_the_partial_distance_equals_its_definition():
    """Positive targets unchanged; those in [margin, 0] where the student is above; those below count as the margin."""
    student, teacher, margin = np.meshgrid(np.linspace(-2, 2, 9), np.linspace(-2, 2, 8), [-1.1], indexing="ij")
    expected = np.where(teacher > 0, (student - teacher) ** 2, 0)
    expected += np.where((teacher <= 0) & (teacher > margin) & (student > teacher), (student - teacher) ** 2, 0)
    expected += np.where((teacher <= margin) & (student > margin), (student - margin) ** 2, 0)
    maps = [torch.from_numpy(x).reshape(2, 1, 6, 6) for x in (student, teacher)]
    ours = partial_distance(*maps, torch.full((1, 1, 1, 1), -1.1, dtype=torch.float64))
    assert np.isclose(ours.item(), expected.sum() / 2)

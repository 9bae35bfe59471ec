"""An exact solver for the shortest vector in the convex hull of a few gradients, with bounded weights."""

from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

MAX_GRADIENTS = 8  # up to 3^K systems of K + 1 unknowns are solved at once
PULL = 1e-9  # of each proximal step towards the last solution, relative to each gradient's squared length
PROXIMAL_STEPS = 4


@torch.no_grad()
def min_norm_weights(gram: Tensor, upper: float) -> Tensor:
    """The exact minimum of aᵀ G a with Σ a = 1 and 0 ≤ a ≤ upper: gram [K, K] → [K] float64, without a device sync.

    Every weight is at 0, at `upper`, or free: the equations of optimality of all these cases are solved together, and
    the best solution within the bounds is taken. Proximal steps, whose pull vanishes at the solution, keep singular
    cases solvable and lead to the optimum that is nearest to equal weights. An `upper` below 1/K, which leaves no
    solution, is replaced by 1/K.
    """
    count = len(gram)
    gram = gram.double()
    upper = min(max(upper, 1 / count), 1.0)
    scale = gram.diagonal().mean()
    gram = gram / torch.where(scale > 0, scale, 1.0)
    pull = PULL * gram.diagonal().clamp_min(PULL)
    weights = torch.full((count,), 1 / count, dtype=gram.dtype, device=gram.device)
    for _ in range(PROXIMAL_STEPS):
        weights = _best_case(gram, upper, weights, pull)
    return weights


def _best_case(gram: Tensor, upper: float, centre: Tensor, pull: Tensor) -> Tensor:
    """The weights that minimise aᵀ G a + Σ_k pull_k (a_k − centre_k)² within the bounds."""
    count = len(gram)
    pulled = gram + torch.diag(pull)
    case = _cases(count, int(1 / upper + 1e-9), gram.device)
    free = (case == 0).unsqueeze(-1)
    bound = upper * (case == 2).to(gram.dtype)
    system = gram.new_zeros(len(case), count + 1, count + 1)
    system[:, :count, :count] = torch.where(free, pulled, torch.eye(count, dtype=gram.dtype, device=gram.device))
    system[:, :count, count] = free.squeeze(-1).to(gram.dtype)
    system[:, count, :count] = 1.0
    right = torch.cat([torch.where(case == 0, pull * centre, bound), gram.new_ones(len(case), 1)], dim=1)
    weights = torch.linalg.solve_ex(system, right.unsqueeze(-1))[0].squeeze(-1)[:, :count]
    inside = ((weights > -1e-10) & (weights < upper + 1e-10)).all(1) & ((weights.sum(1) - 1).abs() < 1e-9)
    weights = torch.where(inside.unsqueeze(1), weights.clamp(0.0, upper), centre)
    cost = ((weights @ gram) * weights).sum(1) + (weights - centre).square() @ pull
    return weights.index_select(0, torch.where(inside, cost, torch.inf).argmin().reshape(1)).squeeze(0)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch gives it no type
def _cases(count: int, most: int, device: torch.device) -> Tensor:
    """`_table`, a constant for torch.compile."""
    return _table(count, most, device)


@lru_cache
def _table(count: int, most: int, device: torch.device) -> Tensor:
    """All ways [n, count] for weights to be free (0), at 0 (1), or, at most `most` of them, at the upper bound (2).

    Cases without a free weight are left out: they fulfil Σ a = 1 only where a case with one does too. Cached, as a copy
    from the host makes a step wait.
    """
    ways = np.array(list(product(range(3), repeat=count)))
    return torch.from_numpy(ways[((ways == 2).sum(1) <= most) & (ways == 0).any(1)]).to(device)

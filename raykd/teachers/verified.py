"""The first outputs of a teacher's optimised pass, compared with those of its network as it is."""

import torch
from torch import Tensor

from raykd import UserError
from raykd.data.device.fetch import fetch
from raykd.teachers.captured import Pass

LIMIT = 0.1  # relative error; rounding in half precision, in another order of operations, stays well below it


def verified(name: str, run: Pass, plain: Pass) -> Pass:
    """`run`, whose first outputs are compared with those of `plain`; these may differ by rounding only.

    The pass raises UserError otherwise: a graph that was traced, fused, captured or compiled wrongly would teach wrong
    targets without any other sign. Outputs that are not finite are not judged here. name: of the teacher.
    """
    unverified = [plain]

    def verify(images: Tensor) -> tuple[Tensor, ...]:
        outputs = run(images)
        if unverified:
            _expect_equal(name, outputs, unverified.pop()(images))
        return outputs

    return verify


def _expect_equal(name: str, outputs: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    pairs = [(a.double(), b.double()) for a, b in zip(outputs, expected, strict=True)]
    # NaN, which nothing exceeds, counts as equal.
    equal = ~torch.stack([(a - b).norm() > LIMIT * b.norm() for a, b in pairs])
    if not all(fetch(equal)):
        raise UserError(
            f"teachers: the optimised pass of {name} gives other outputs than the network itself on this device: use "
            "--teachers.no-capture, with another --teachers.form than auto"
        )

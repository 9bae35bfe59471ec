"""The number of kernels that a training step launches does not grow."""

import pytest

from tests.bench import kernels
from tests.support import every_method, gpu_step


@pytest.mark.parametrize(("name", "most", "launches"), [("KD", 252, 194), ("OKDDip", 610, 610)])
def test_a_step_launches_no_more_kernels_than_before(name, most, launches):
    case = kernels.case_of(every_method.configs()[name])
    with gpu_step.running(case, kernels.SIZES) as run:
        trace = gpu_step.traced_update(run, kernels.SIZES)
    assert trace.kernels <= most and trace.launches <= launches


def test_ema_launches_one_kernel():
    case = kernels.case_of(every_method.configs()["Supervised"])
    found = []
    for ema in (0.0, 0.9):
        with gpu_step.running(case, kernels.SIZES, ema=ema) as run:
            found.append(gpu_step.traced_update(run, kernels.SIZES).kernels)
    assert found[1] - found[0] == 1

"""Tests on a real GPU: `make test-gpu`. `pytest tests/gpu --on cpu` runs the same on a CPU, to test the tests."""

import pytest
import torch

from raykd.recipe import Precision
from raykd.training.process import use_device


def pytest_addoption(parser):
    parser.addoption("--on", choices=["cuda", "cpu"], default="cuda", help="device of the tests in tests/gpu")


def pytest_collection_modifyitems(config, items):
    if torch.cuda.is_available() or config.getoption("--on", "cuda") == "cpu":
        return
    skip = pytest.mark.skip(reason="PyTorch finds no GPU")
    for item in items:
        if "tests/gpu" in str(item.path):
            item.add_marker(skip)


@pytest.fixture
def device(request):
    """The GPU, set to compute in float32; afterwards as every process begins."""
    chosen = torch.device("cuda", 0) if request.config.getoption("--on") == "cuda" else torch.device("cpu")
    use_device(chosen, Precision(tf32=False), 1.0)
    yield chosen
    use_device(chosen, Precision(), 1.0)


@pytest.fixture
def repeatable(device):
    """The GPU in the mode in which it computes the same bits again."""
    use_device(device, Precision(tf32=False, deterministic=True), 1.0)
    return device

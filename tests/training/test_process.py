"""Settings of the whole process, each tested in its own process."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from raykd import UserError
from raykd.launch.cluster import capacity
from raykd.launch.driver import validate
from raykd.launch.run_state import failure
from raykd.recipes.digits.supervised import recipe
from raykd.training import process

FAULTS = """
import resource, sys
import numpy as np
from raykd.training import process
if sys.argv[1] == "keep":
    process.keep_freed_memory()
np.ones(48 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(48 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.slow
def test_freed_memory_is_reused_without_page_faults():
    assert page_faults("keep") < 20
    assert page_faults("leave") > 10 * 20  # numpy requests huge pages: few faults, but again for every array


SETTINGS = """
import os, sys
import torch
from raykd.recipe import Precision
from raykd.training import process
process.use_device(torch.device("cpu"), Precision(deterministic=sys.argv[1] == "True", tf32=sys.argv[2] == "True"), 1.0)
cudnn = torch.backends.cudnn
print(torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, not cudnn.benchmark,
      "CUBLAS_WORKSPACE_CONFIG" in os.environ, torch.get_float32_matmul_precision(), cudnn.allow_tf32)
"""


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("tf32", [False, True])
def test_a_process_is_configured_as_the_recipe_says(deterministic, tf32):
    run = [sys.executable, "-c", SETTINGS, str(deterministic), str(tf32)]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert said == [str(deterministic)] * 4 + ["high" if tf32 else "highest", str(tf32)]


def test_a_missing_gpu_is_rejected():
    """Instead of training on the CPU without a message."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="gpus_per_worker: PyTorch finds no GPU"):
        process.local_device(replace(recipe, workers=0, gpus_per_worker=1))
    assert process.local_device(recipe).type == "cpu"


def test_a_fraction_of_a_gpu_requires_one_worker():
    validate.check(replace(recipe, workers=1, gpus_per_worker=0.25))
    with pytest.raises(UserError, match="gpus_per_worker: 0.25 requires one worker"):
        validate.check(replace(recipe, gpus_per_worker=0.25, workers=2))
    assert capacity.per_worker(replace(recipe, gpus_per_worker=0.25))["GPU"] == 0.25
    too_large = failure.fatal(torch.OutOfMemoryError("CUDA out of memory"), replace(recipe, gpus_per_worker=0.25), 0, 1)
    assert "a larger part of the GPU than --gpus-per-worker 0.25" in too_large.line


def test_a_nondeterministic_operation_is_named_and_not_retried():
    error = RuntimeError("upsample_nearest2d_backward does not have a deterministic implementation, but you set\nmore")
    found = failure.fatal(error, recipe, 0, 1)
    assert found.kind == "input" and "\n" not in found.line
    assert found.line.startswith("precision.deterministic: upsample_nearest2d_backward")

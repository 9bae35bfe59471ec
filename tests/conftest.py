"""Tests don't see the user's home: caches, tokens and settings are in a temporary folder for the session."""

import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="rkd-"))  # short: Ray's sockets lie below it, and their paths are limited
FOREIGN = ("RAY_", "RAYKD_", "WANDB_", "HF_", "HUGGING_FACE_", "TORCH", "XDG_", "AWS_", "GOOGLE_", "GIT_", "NETRC")
WANTED = ("RAYKD_KUBERAY_CRDS", "RAYKD_GOLDEN")  # folders of schemas and of golden numbers to test against


def isolate() -> None:
    """Called before anything reads the environment: torch, numba, W&B and Ray read it when they are imported."""
    for name in [name for name in os.environ if name.startswith(FOREIGN) and name not in WANTED]:
        del os.environ[name]
    os.environ |= {
        "HOME": str(HOME),
        "RAY_TMPDIR": str(HOME),
        "TORCHINDUCTOR_CACHE_DIR": str(HOME / "inductor"),
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    # Compiled once a session; who sets it by hand keeps compiled code from one session to the next.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(HOME / "numba"))
    # Threads that wait for one another make small tensors ten times slower where anything else runs.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


isolate()

import torch  # noqa: E402
from hypothesis import settings  # noqa: E402

# How long an example takes says nothing about it on a busy machine. The same examples in every session: new ones are
# the long fuzzing's task (tests/faults/fuzz.py).
settings.register_profile("raykd", deadline=None, database=None, derandomize=True)
settings.load_profile("raykd")
torch.set_num_threads(1)


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)

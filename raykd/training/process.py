"""Settings of a training process: threads, memory, GPU, determinism."""

import ctypes
import os

import torch

from raykd import UserError
from raykd.recipe import Precision, Recipe

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # constants of glibc's malloc.h


def use_cpus(cpus: int) -> None:
    """Use as many threads as the process owns CPUs, so that processes on one machine don't compete."""
    torch.set_num_threads(max(1, cpus))
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Make malloc keep freed memory in this process; a no-op if the C library is not glibc.

    By default glibc returns the memory of tensors of some megabytes to the kernel as soon as they are freed, so every
    step would fault in the same pages again.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, -1)
        library.mallopt(TOP_PAD, 64 << 20)


def local_device(recipe: Recipe) -> torch.device:
    """The device of a run in this process; raises UserError if the recipe requires a GPU and there is none."""
    if not recipe.gpus_per_worker:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "gpus_per_worker: PyTorch finds no GPU on this machine; use --gpus-per-worker 0, or a node that has one"
        )
    return torch.device("cuda", 0)


def hide_gpus() -> None:
    """Hide all GPUs from a Ray process that needs none, so that nothing allocates memory on one by mistake."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def use_device(device: torch.device, precision: Precision, share: float) -> None:
    """Configure the device; share: fraction of a GPU's memory, below 1 if processes share it.

    Unless exact or deterministic results are requested, cuDNN benchmarks its kernels, and float32 is multiplied in
    TF32.
    """
    repeat_bits(precision.deterministic)
    torch.set_float32_matmul_precision("high" if precision.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = precision.tf32
    torch.backends.cudnn.benchmark = not precision.deterministic
    if device.type == "cuda":
        torch.cuda.set_device(device)
        if 0 < share < 1:
            torch.cuda.set_per_process_memory_fraction(share, device)


def repeat_bits(on: bool) -> None:
    """Switch deterministic GPU kernels on or off; a no-op on CPUs, which are always deterministic."""
    if on:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first matrix multiplication
    torch.backends.cudnn.deterministic = on
    torch.use_deterministic_algorithms(on)

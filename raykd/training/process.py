"""Settings of a process that trains: its threads and memory, its GPU, whether it computes the same bits again."""

import ctypes
import os

import torch

from raykd import UserError
from raykd.recipe import Precision, Recipe

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # glibc's numbers, malloc.h


def use_cpus(cpus: int) -> None:
    """As many threads as the process owns CPUs, so that processes on one machine don't fight over them."""
    torch.set_num_threads(max(1, cpus))
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let memory that is freed stay with this process; a no-op where the C library is not glibc.

    By default glibc gives tensors of some megabytes back to the kernel as soon as they are freed, and every step then
    pays for the same pages anew.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, -1)
        library.mallopt(TOP_PAD, 64 << 20)


def local_device(recipe: Recipe) -> torch.device:
    """The device of a run in this process; raises UserError where the recipe wants a GPU and there is none."""
    if not recipe.gpus_per_worker:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UserError(
            "gpus_per_worker: PyTorch finds no GPU on this machine; use --gpus-per-worker 0, or a node that has one"
        )
    return torch.device("cuda", 0)


def hide_gpus() -> None:
    """In a process of Ray's that has no use for a GPU: nothing can take memory of one by mistake."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def use_device(device: torch.device, precision: Precision, share: float) -> None:
    """Settings of the device; share: of a GPU's memory, below 1 where processes share one.

    Where neither exactness nor the same bits are asked for, cuDNN chooses its fastest kernels by trying them, and
    float32 is multiplied in TF32.
    """
    repeat_bits(precision.deterministic)
    torch.set_float32_matmul_precision("high" if precision.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = precision.tf32
    torch.backends.cudnn.benchmark = not precision.deterministic
    if device.type == "cuda":
        torch.cuda.set_device(device)
        if 0 < share < 1:
            torch.cuda.set_per_process_memory_fraction(share, device)


def repeat_bits(wanted: bool) -> None:
    """Whether the same operations on the same GPU give the same bits; a no-op on CPUs, which always repeat theirs."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first matrix is multiplied
    torch.backends.cudnn.deterministic = wanted
    torch.use_deterministic_algorithms(wanted)

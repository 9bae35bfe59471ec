"""Settings of a process that trains."""

import ctypes

import torch

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

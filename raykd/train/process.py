"""The C library's heap in a process that trains on a CPU."""

import ctypes

TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # glibc's numbers, malloc.h


def keep() -> None:
    """Let memory that is freed stay with this process; a no-op where the C library is not glibc.

    By default glibc gives tensors of some megabytes back to the kernel as soon as they are freed, and every step then
    pays for the same pages anew.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, -1)
        library.mallopt(TOP_PAD, 64 << 20)

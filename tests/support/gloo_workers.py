"""Worker processes that are connected by gloo, for tests without Ray."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def run_workers(function: Callable[..., None], *arguments: Any, world: int, folder: Path) -> None:
    """Call `function(rank, *arguments)` in `world` processes of one thread each; raises if one of them fails.

    folder: an existing folder, in which the workers meet; each call needs one of its own.
    """
    torch.multiprocessing.spawn(_worker, (function, arguments, world, f"file://{folder}/meet"), nprocs=world)


def _worker(rank: int, function: Callable[..., None], arguments: tuple[Any, ...], world: int, meet: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=world)
    function(rank, *arguments)
    torch.distributed.barrier()
    # Gloo's threads may still hold tensors, and a thread that frees one while the interpreter ends aborts the process
    # (pytorch#190489): so the interpreter doesn't end, it stops.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)

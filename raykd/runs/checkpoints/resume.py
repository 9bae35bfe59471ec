"""Resuming: every worker gets the checkpoint that rank 0 has read."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from raykd.runs.checkpoints.checkpoint import content, decode, newest
from raykd.runs.checkpoints.stamps import Stamp
from raykd.storage.folder import Folder


def resume(run: Folder, complain: Callable[[str], None], device: torch.device) -> tuple[dict[str, Any], Stamp] | None:
    """Rank 0's `newest` on all workers, as workers that choose independently could choose differently."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return newest(run, complain)
    message = b""
    if torch.distributed.get_rank() == 0:
        checkpoint = newest(run, complain)
        if checkpoint is not None:
            message = json.dumps(asdict(checkpoint[1])).encode() + b"\n" + content(run, checkpoint[1])
    stamp, _, state = broadcast(message, device).partition(b"\n")
    return (decode(state, "the checkpoint that worker 0 sent"), Stamp(**json.loads(stamp))) if stamp else None


def broadcast(message: bytes, device: torch.device) -> bytes:
    """Broadcast rank 0's bytes to every worker."""
    length = torch.tensor([len(message)], device=device)
    torch.distributed.broadcast(length, 0)
    if not int(length):
        return b""
    first = torch.distributed.get_rank() == 0
    data = (
        torch.frombuffer(bytearray(message), dtype=torch.uint8)
        if first
        else torch.empty(int(length), dtype=torch.uint8)
    )
    data = data.to(device)
    torch.distributed.broadcast(data, 0)
    return data.cpu().numpy().tobytes()

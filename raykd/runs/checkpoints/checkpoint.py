"""Checkpoints: written atomically, verified by their hash when read; the newest and the best are retained."""

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from raykd import UserError
from raykd.runs.checkpoints.stamps import FOLDER, Stamp, folders, stamps
from raykd.storage.folder import Folder

PLAIN = (str, bytes, int, float, bool, type(None))  # without numpy's floats, which need code to be read


def write(run: Folder, state: dict[str, Any], *, step: int, epoch: float, top1: float | None, fingerprint: str) -> None:
    """Save a state (tensors and plain values) as a step's checkpoint; raises TypeError for what `decode` refuses."""
    expect_readable(state, "the state")
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    stamp = Stamp(step, epoch, top1, fingerprint, hashlib.sha256(content).hexdigest(), len(content))
    name = f"{FOLDER}/step-{step:09d}"
    run.write(f"{name}/state.pt", content)
    run.write(f"{name}/stamp.json", json.dumps(asdict(stamp)))


def expect_readable(value: Any, name: str) -> None:
    """Raise TypeError, naming the place, for anything but tensors and plain values: it could not be read back."""
    if isinstance(value, dict):
        for key, item in value.items():
            expect_readable(key, f"a key of {name}")
            expect_readable(item, f"{name}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            expect_readable(item, f"{name}[{i}]")
    elif not isinstance(value, torch.Tensor) and type(value) not in PLAIN:
        raise TypeError(f"a checkpoint can contain only tensors and plain values; {name} is a {type(value).__name__}")


def read(run: Folder, stamp: Stamp) -> dict[str, Any]:
    """The state of a checkpoint; raises UserError naming a file that differs from what was written."""
    return decode(content(run, stamp), f"{run}/{_file(stamp)}")


def content(run: Folder, stamp: Stamp) -> bytes:
    """A checkpoint's verified bytes; raises UserError naming a file that differs from what was written."""
    name = _file(stamp)
    try:
        data = run.read(name)
    except FileNotFoundError:
        raise UserError(f"{run}/{name} is missing") from None
    if len(data) != stamp.size or hashlib.sha256(data).hexdigest() != stamp.sha256:
        raise UserError(f"{run}/{name} is damaged: its hash differs from the recorded one")
    return data


def decode(content: bytes, name: str) -> dict[str, Any]:
    """The state in a checkpoint's bytes; raises UserError if they contain anything that could run code."""
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        raise UserError(f"{name} is not a raykd checkpoint: it contains more than tensors and numbers") from None
    return state


def _file(stamp: Stamp) -> str:
    return f"{FOLDER}/step-{stamp.step:09d}/state.pt"


def newest(run: Folder, complain: Callable[[str], None]) -> tuple[dict[str, Any], Stamp] | None:
    """The newest readable checkpoint; `complain(line)` is called for every damaged one that is skipped."""
    for stamp in reversed(stamps(run)):
        try:
            return read(run, stamp), stamp
        except UserError as error:
            complain(f"{error}; the previous one is used")
    return None


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


def prune(run: Folder, keep: int) -> None:
    """Delete all but the `keep` newest and the best by top-1, and older incomplete ones that a crash left."""
    complete = stamps(run)
    names = {f"step-{stamp.step:09d}" for stamp in complete}
    for name in folders(run):
        if name not in names and complete and name < f"step-{complete[-1].step:09d}":
            run.delete(f"{FOLDER}/{name}")
    scored = [stamp for stamp in complete if stamp.top1 is not None]
    retained = {stamp.step for stamp in complete[-keep:]} | {
        max(scored, key=lambda s: (s.top1, s.step)).step for _ in scored[:1]
    }
    for stamp in complete:
        if stamp.step not in retained:
            run.delete(f"{FOLDER}/step-{stamp.step:09d}")

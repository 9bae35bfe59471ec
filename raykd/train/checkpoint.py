"""Checkpoints: written whole or not at all, checked by their hash when read, the newest and the best kept."""

import hashlib
import io
import json
import pickle
import threading
from dataclasses import asdict, dataclass
from typing import Any

import torch

from raykd import UserError
from raykd.train.storage import Folder

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Stamp:
    """What stands beside a checkpoint's tensors; written last, so a checkpoint without it does not exist."""

    step: int
    epoch: float
    top1: float | None  # of the deployed network, where this step was evaluated
    fingerprint: str
    sha256: str
    size: int


def write(run: Folder, state: dict[str, Any], *, step: int, epoch: float, top1: float | None, fingerprint: str) -> None:
    """Save a state (tensors and plain values) as the checkpoint of a step."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    stamp = Stamp(step, epoch, top1, fingerprint, hashlib.sha256(content).hexdigest(), len(content))
    name = f"{FOLDER}/step-{step:09d}"
    run.write(f"{name}/state.pt", content)
    run.write(f"{name}/stamp.json", json.dumps(asdict(stamp)))


def stamps(run: Folder) -> list[Stamp]:
    """Stamps of all complete checkpoints, oldest first."""
    found = []
    for name in run.names(FOLDER):
        if name.startswith("step-") and run.exists(f"{FOLDER}/{name}/stamp.json"):
            found.append(_stamp(run, name))
    return [stamp for stamp in found if stamp is not None]


def _stamp(run: Folder, name: str) -> Stamp | None:
    try:
        return Stamp(**run.read_json(f"{FOLDER}/{name}/stamp.json"))
    except (UserError, TypeError):
        return None


def read(run: Folder, stamp: Stamp) -> dict[str, Any]:
    """The state of a checkpoint; raises UserError naming a file that is not what was written."""
    name = f"{FOLDER}/step-{stamp.step:09d}/state.pt"
    try:
        content = run.read(name)
    except FileNotFoundError:
        raise UserError(f"{run.place}/{name} is missing") from None
    if len(content) != stamp.size or hashlib.sha256(content).hexdigest() != stamp.sha256:
        raise UserError(f"{run.place}/{name} is damaged: its hash is not the one that was written")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
        raise UserError(f"{run.place}/{name} is no checkpoint of raykd's: it holds more than tensors and numbers") from None


def newest(run: Folder, complain) -> tuple[dict[str, Any], Stamp] | None:
    """The newest checkpoint that reads; `complain(line)` hears of every damaged one that is passed over."""
    for stamp in reversed(stamps(run)):
        try:
            return read(run, stamp), stamp
        except UserError as error:
            complain(f"{error}; the one before is used")
    return None


def prune(run: Folder, keep: int) -> None:
    """Delete all but the `keep` newest and the best by top-1."""
    found = stamps(run)
    scored = [stamp for stamp in found if stamp.top1 is not None]
    kept = {stamp.step for stamp in found[-keep:]} | {max(scored, key=lambda s: (s.top1, s.step)).step for _ in scored[:1]}
    for stamp in found:
        if stamp.step not in kept:
            run.delete(f"{FOLDER}/step-{stamp.step:09d}")


class Writer:
    """Writes checkpoints in a thread of its own; the step waits only for a copy of the state in memory."""

    def __init__(self, run: Folder, keep: int, fingerprint: str):
        self._run, self._keep, self._fingerprint = run, keep, fingerprint
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, state: dict[str, Any], step: int, epoch: float, top1: float | None) -> None:
        """Start writing a state that nobody changes any more; waits for the one before."""
        self.wait()
        self._thread = threading.Thread(target=self._save, args=(state, step, epoch, top1), name="checkpoint-writer")
        self._thread.start()

    def wait(self) -> None:
        """Until nothing is being written; raises what the last write raised."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _save(self, state: dict[str, Any], step: int, epoch: float, top1: float | None) -> None:
        try:
            write(self._run, state, step=step, epoch=epoch, top1=top1, fingerprint=self._fingerprint)
            prune(self._run, self._keep)
        except OSError as error:
            self._error = error

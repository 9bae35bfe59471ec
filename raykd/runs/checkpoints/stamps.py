"""Stamps of checkpoints, from which a run's state is known without reading tensors."""

from dataclasses import asdict, dataclass
from typing import Any

from raykd import UserError
from raykd.storage.folder import Folder

FOLDER = "checkpoints"


@dataclass(frozen=True)
class Stamp:
    """The metadata of a checkpoint; written last, so that a checkpoint without it does not count."""

    step: int
    epoch: float
    top1: float | None  # of the deployed network, if this step was evaluated
    fingerprint: str
    sha256: str
    size: int


def stamps(run: Folder) -> list[Stamp]:
    """Stamps of all complete checkpoints, oldest first."""
    readable = [_stamp(run, name) for name in folders(run)]
    return sorted((stamp for stamp in readable if stamp is not None), key=lambda stamp: stamp.step)


def folders(run: Folder) -> list[str]:
    return [name for name in run.names(FOLDER) if name.startswith("step-")]


def _stamp(run: Folder, name: str) -> Stamp | None:
    """The stamp; None if it is missing, damaged or of another folder."""
    try:
        stamp = Stamp(**run.read_json(f"{FOLDER}/{name}/stamp.json"))
    except (UserError, TypeError, FileNotFoundError, NotADirectoryError):
        return None
    kinds: tuple[Any, ...] = (int, (int, float), (int, float, type(None)), str, str, int)
    fits = all(isinstance(value, kind) for value, kind in zip(asdict(stamp).values(), kinds, strict=True))
    return stamp if fits and name == f"step-{stamp.step:09d}" else None

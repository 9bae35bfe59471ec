"""What of a run directory goes to W&B: anybody may have made it, so nothing in it says which files, or to whom.

Only raykd's own files leave the machine, and only for a project that the user knows of.
"""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from raykd import UserError
from raykd.track.state import STUDENT, Notebook

FILES = ("recipe.json", "metrics.jsonl", "evaluation.json", "result.json", "config.yaml", "wandb-summary.json")
# Of a transaction log: what training logs. Artifacts and further files name paths of this machine.
RECORDS = {"run", "history", "summary", "config", "metric", "stats", "exit", "telemetry", "header", "footer", "final"}
DEFAULT_PROJECT = "raykd"


def expect_known(
    notes: Iterable[Notebook], default_entity: str, allowed: Iterable[str], ask: Callable[[str], bool]
) -> None:
    """Raise UserError where a run is recorded for a project that is neither the user's default nor named by the user.

    allowed: ENTITY/PROJECT that the user has named. ask: puts a question to the user; False where nobody is there.
    """
    known = {f"{default_entity}/{DEFAULT_PROJECT}", *allowed}
    for note in notes:
        place = f"{note.entity or default_entity}/{note.project}"
        if place not in known and not ask(f"{note.directory} was tracked for {place} on W&B. Upload it there?"):
            raise UserError(
                f"{note.directory} was tracked for {place} on W&B, which is not your default "
                f"({default_entity}/{DEFAULT_PROJECT}); if you want it there: raykd sync --to {place} …"
            )
        known.add(place)


def own_records(records: Iterable[bytes], note: Notebook) -> Iterator[bytes]:
    """Records of a transaction log that may be uploaded, addressed to the note's project.

    Networks that the log would have uploaded are put on the note, which hands over the run's own file.
    """
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made at run time

    for data in records:
        record = Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            record.run.entity, record.run.project, record.run.run_id = note.entity, note.project, note.id
            yield record.SerializeToString()
        elif kind in RECORDS:
            yield data
        elif kind == "artifact" and (note.directory / STUDENT).is_file():
            metadata = {}
            with contextlib.suppress(ValueError):
                metadata = json.loads(record.artifact.metadata or "{}")
            if not note.artifacts:
                note.artifacts.append({"file": STUDENT, "metadata": metadata})


def copy_own_files(source: Path, target: Path) -> None:
    """Copy raykd's and W&B's own files of a run: regular ones, and none through a link."""
    target.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        with contextlib.suppress(OSError):
            (target / name).write_bytes(read_regular(source / name))


def read_regular(path: Path) -> bytes:
    """Bytes of a regular file; raises OSError for a link, a pipe, a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read()

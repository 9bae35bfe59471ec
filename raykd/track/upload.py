"""Uploading what W&B's server did not get when it was logged: `raykd sync`.

Parts are uploaded as W&B wrote them, without the steps that the server has. Logging a run's metrics.jsonl again through
`wandb.init(resume=…)` would need none of W&B's file format, but is not the same history: metrics.jsonl has a line an
evaluation, while steps between them, system metrics and the console stand in W&B's own log alone, and all of it would
carry the time of the upload. It is what `Run` falls back on where W&B's log broke off.
"""

import collections
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.storage.atomic import scratch, temporary_folder
from raykd.track.artifacts import link_teachers, log_artifacts
from raykd.track.server import private_settings, quiet_wandb, unreachable
from raykd.track.state import Notebook
from raykd.track.upload_guard import copy_own_files, expect_known, own_records, read_regular

BLOCK, HEADER = 32768, 7  # W&B's transaction log is LevelDB's log format after 7 bytes that say so
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def sync(
    runs: list[str], allowed: Iterable[str] = (), ask: Callable[[str], bool] = lambda question: False
) -> list[str]:
    """Upload run directories (or folders of them); a line of what happened for each.

    allowed, ask: ENTITY/PROJECT that the user has named, and how to ask for others, see `expect_known`.
    Raises UserError where there is nothing that W&B could get, no key, no server, or no leave to upload.
    """
    notes = [Notebook(path) for run in runs for path in _directories(Path(run))]
    if not notes:
        raise UserError(f"no run with a wandb.json in {', '.join(runs)}: give run directories that W&B was on for")
    trouble = unreachable()
    if trouble:
        raise UserError(f"can't upload to W&B: {trouble}")
    expect_known(notes, quiet_wandb().Api(timeout=20).default_entity, allowed, ask)
    return [f"{note.directory}: {upload(note) or _where(note)}" for note in notes]


def _where(note: Notebook) -> str:
    missing = ", ".join(note.teachers)
    later = f" (its teachers' runs are not there yet: sync {missing}, then this again)" if missing else ""
    return f"uploaded{f', {note.url}' if note.url else ''}{later}"


def _directories(path: Path) -> list[Path]:
    if not path.is_dir():
        raise UserError(f"no run directory at {path}")
    return sorted(found.parent for found in path.rglob("wandb.json"))


def upload(note: Notebook, seconds: float = 3600.0) -> str:
    """Send a run's waiting parts in order, and link its teachers; "" or why it did not end well."""
    for part in note.pending():
        log = next((note.directory / "wandb" / part["folder"]).glob("run-*.wandb"), None)
        if log is None:
            return f"no transaction log in wandb/{part['folder']}, it can't be uploaded"
        with temporary_folder() as folder:
            trouble = _wandb_sync(_without_uploaded(note, log, Path(folder)), seconds)
        if trouble:
            return trouble
        part["uploaded"] = True
        note.write()
    _find(note)
    note.url = quiet_wandb().Api(timeout=20).run(f"{note.entity}/{note.project}/{note.id}").url
    note.write()
    if note.artifacts:
        _send_artifacts(note)
    link_teachers(note)
    return ""


def _wandb_sync(log: Path, seconds: float) -> str:
    """W&B's own upload of one transaction log; it ends with status 0 in any case, its marker says whether it worked."""
    marker = log.with_suffix(".wandb.synced")
    marker.unlink(missing_ok=True)
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", "--include-synced", "--yes", str(log)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"the upload took more than {seconds:.0f} s and was given up; nothing is lost, try again"
    if done.returncode == 0 and marker.exists():
        return ""
    lines = (done.stderr or done.stdout).strip().splitlines()
    return f"W&B did not take the upload ({lines[-1] if lines else 'no word why'}); nothing is lost, try again"


def _send_artifacts(note: Notebook) -> None:
    """Networks that a run could not hand over while it ran."""
    wandb = quiet_wandb()
    run = wandb.init(
        project=note.project,
        entity=note.entity,
        id=note.id,
        resume="must",
        dir=str(scratch()),
        reinit="create_new",
        settings=private_settings(wandb),
    )
    log_artifacts(note, run, run.name)
    run.finish()


def _find(note: Notebook) -> None:
    """Entity of a run that was offline until now."""
    note.entity = note.entity or quiet_wandb().Api(timeout=20).default_entity
    note.write()


def _without_uploaded(note: Notebook, log: Path, folder: Path) -> Path:
    """A copy of a part's log without the steps that the server has: W&B would append them a second time."""
    wandb = quiet_wandb()
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made at run time

    _find(note)
    try:
        last = wandb.Api(timeout=20).run(f"{note.entity}/{note.project}/{note.id}").lastHistoryStep
    except (wandb.errors.CommError, ValueError):  # the server has nothing of the run
        last = -1
    kept, content = [], read_regular(log)
    for data in own_records(read_log(content), note):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") != "history" or _step(record.history) > last:
            kept.append(data)
    copy = folder / log.parent.name / log.name
    copy_own_files(log.parent / "files", copy.parent / "files")
    copy.write_bytes(write_log(content[:HEADER], kept))
    return copy


def complete(log: Path) -> bool:
    """Whether a transaction log holds its run's end. W&B's service writes it a moment after it has said so."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made at run time

    last = collections.deque(read_log(log.read_bytes()), maxlen=8)
    return any(Record.FromString(data).WhichOneof("record_type") == "exit" for data in last)


def _step(history: Any) -> int:
    if history.HasField("step"):
        return history.step.num
    (value,) = [item.value_json for item in history.item if item.key == "_step" or list(item.nested_key) == ["_step"]]
    return int(value)


def read_log(content: bytes) -> Iterator[bytes]:
    """Records of a transaction log; a torn end, as a killed process leaves it, ends them."""
    position, record = HEADER, b""
    while position + HEADER <= len(content):
        if BLOCK - position % BLOCK < HEADER:
            position += BLOCK - position % BLOCK
            continue
        checksum, size, kind = struct.unpack("<IHB", content[position : position + HEADER])
        data = content[position + HEADER : position + HEADER + size]
        if len(data) < size or zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum:
            return
        position += HEADER + size
        record = data if kind in (FULL, FIRST) else record + data
        if kind in (FULL, LAST):
            yield record


def write_log(header: bytes, records: Iterable[bytes]) -> bytes:
    """The transaction log of some records."""
    out = bytearray(header)
    for record in records:
        begun = False
        while True:
            room = BLOCK - len(out) % BLOCK
            if room < HEADER:
                out += bytes(room)
                continue
            piece, record = record[: room - HEADER], record[room - HEADER :]
            kind = (MIDDLE if record else LAST) if begun else (FIRST if record else FULL)
            out += struct.pack("<IHB", zlib.crc32(piece, zlib.crc32(bytes([kind]))), len(piece), kind) + piece
            begun = True
            if not record:
                break
    return bytes(out)

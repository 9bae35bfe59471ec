"""wandb/history.jsonl: everything that a run logs to W&B, stored in its directory for a later upload.

One JSON object a line: {"start": name, group, job type, tags and configuration}, {"step": N, "values": {…}},
{"summary": {…}}, {"exit": code}. W&B's own log of a run is not read: its format is private.
"""

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raykd.storage.folder import Folder

FILE = "wandb/history.jsonl"
EXIT_CODES = {"finished": 0, "failed": 1, "stopped": 255}  # W&B shows 255 as killed
PLAIN = (str, int, float, bool, type(None))


@dataclass
class Logged:
    """What a run has logged so far, read from its directory."""

    start: dict[str, Any] = field(default_factory=dict)  # of its last start
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)  # values by step, in order
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int = EXIT_CODES["stopped"]  # also of a run that was killed


def record(directory: Path, event: Mapping[str, Any]) -> None:
    """Append one event; raises OSError."""
    folder = Folder(directory)
    (directory / FILE).parent.mkdir(exist_ok=True)
    # A killed process may have left an incomplete line before a start.
    folder.append(FILE, "\n" * ("start" in event) + json.dumps(event))


def read_history(directory: Path) -> Logged:
    """What the directory's run has logged; lines that raykd can't have written are skipped."""
    logged = Logged()
    for line in _lines(directory / FILE):
        match line:
            case {"start": dict(start)}:
                logged.start = start
            case {"step": int(step), "values": dict(values)}:
                logged.rows[step] = logged.rows.get(step, {}) | _plain(values)
            case {"summary": dict(values)}:
                logged.summary |= _plain(values)
            case {"exit": int(code)}:
                logged.exit_code = code
    return logged


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if isinstance(value, PLAIN)}


def _lines(path: Path) -> Iterator[Any]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for line in read_regular(path).splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                yield json.loads(line)


def read_regular(path: Path) -> bytes:
    """A regular file's bytes; raises OSError for a link, a FIFO or a device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read()


def is_own(path: Path) -> bool:
    """Whether a file is the run directory's own, rather than a link to another one."""
    return path.is_file() and not path.is_symlink()


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one level: {"terms": {"ce": 1}, "w": [2]} → {"terms/ce": 1, "w/0": 2}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, (list, tuple)):
            value = {str(i): item for i, item in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat

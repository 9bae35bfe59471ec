"""Data sets on a cluster: written once to shared storage, then copied and verified by each node."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from raykd import UserError
from raykd.data.config import Data
from raykd.data.storage.prepare import prepare, settings_stem
from raykd.storage import atomic
from raykd.storage.folder import Folder

CHUNK = 8 * 2**20
SPLITS = ("train.beton", "test.beton")
Log = Callable[[str], None]


def publish(data: Data, log: Log) -> None:
    """Write a data set's files to data.shared, unless they exist; a no-op without data.shared.

    The checksums are written last, as the sign that all files are complete. Raises UserError if writing fails.
    """
    if not data.shared or data.source.prepared() is not None:
        return
    local, folder = prepare(data).train.parent, Folder(data.shared)
    shared = folder / local.name
    if not shared.exists("checksums.json"):
        shared.create()
        checksums = {}
        for name in (*SPLITS, "manifest.json"):
            size = (local / name).stat().st_size
            with open(local / name, "rb") as source, shared.open_write(name) as target:
                checksums[name] = _copy(source, target, size, f"copying {name} to {shared.location}", log)
        shared.write("checksums.json", json.dumps(checksums))
    if local.name != settings_stem(data):  # nodes without the source can't compute the content's hash
        folder.write(f"{settings_stem(data)}.json", json.dumps({"folder": local.name}))


def stage(data: Data, log: Log) -> None:
    """Copy a data set's files from data.shared to data.root, unless they exist there.

    Safe for concurrent calls: one process copies, the others of its node wait for it.
    Raises UserError for missing and for damaged files, naming them.
    """
    if not data.shared or data.source.prepared() is not None:
        return
    name = _published(data)
    local = Path(data.root).expanduser() / name
    local.parent.mkdir(parents=True, exist_ok=True)
    if not (local / "manifest.json").exists():
        atomic.clear(local.parent, "*")  # what killed writers left
        with FileLock(f"{local}.lock"):  # the lock of the files' writer
            if not (local / "manifest.json").exists():
                _fetch(Folder(data.shared) / name, local, log)
    (local / "manifest.json").touch()  # a node without the source uses the newest files


def _published(data: Data) -> str:
    """The folder that was published last for these settings; raises UserError if its record is damaged."""
    folder, stem = Folder(data.shared), settings_stem(data)
    if not folder.exists(f"{stem}.json"):
        return stem
    record = folder.read_json(f"{stem}.json")
    name = record.get("folder") if isinstance(record, dict) else None
    if not isinstance(name, str) or not name.startswith(stem) or "/" in name:
        raise UserError(f"data.shared: {folder.location}/{stem}.json is damaged: delete it")
    return name


def _fetch(shared: Folder, local: Path, log: Log) -> None:
    try:
        checksums = shared.read_json("checksums.json")
    except FileNotFoundError:
        raise UserError(
            f"data.shared: {shared.location} contains no prepared files; start the run again, whose driver writes them"
        ) from None
    sizes = {name: shared.size(name) for name in checksums}
    local.mkdir(exist_ok=True)
    needed, free = sum(sizes.values()), shutil.disk_usage(local).free
    if needed > free:
        raise UserError(f"data.root: {local} has {free / 1e9:.1f} GB free, but the data set needs {needed / 1e9:.1f}")
    # The manifest last, as the sign that all files are complete.
    for name in sorted(checksums, key=lambda name: name == "manifest.json"):
        _fetch_file(shared, local / name, sizes[name], checksums[name], log)


def _fetch_file(shared: Folder, path: Path, size: int, checksum: str, log: Log) -> None:
    with atomic.replacing(path) as temporary:
        with shared.open_read(path.name) as source, open(temporary, "wb") as target:
            copied = _copy(source, target, size, f"copying {path.name} from {shared.location}", log)
        if copied != checksum:
            raise UserError(
                f"data.shared: {shared.location}/{path.name} is damaged (its checksum differs): delete that folder"
            )


def _copy(source: BinaryIO, target: BinaryIO, size: int, action: str, log: Log) -> str:
    """Copy a stream, reporting progress every 5 s; returns the SHA-256 of its content."""
    digest, done, logged = hashlib.sha256(), 0, time.monotonic()
    while chunk := source.read(CHUNK):
        target.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if time.monotonic() - logged > 5:
            logged = time.monotonic()
            log(f"{action}: {done / 1e6:.0f} of {size / 1e6:.0f} MB")
    log(f"{action}: done, {done / 1e6:.1f} MB")
    return digest.hexdigest()

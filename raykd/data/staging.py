"""Data on a cluster: written once to shared storage, then copied and verified once by each node."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from raykd import UserError
from raykd.data.config import Data
from raykd.data.storage.prepare import clear_parts, prepare, stem_of
from raykd.storage.folder import Folder

CHUNK = 8 * 2**20
SPLITS = ("train.beton", "test.beton")
Say = Callable[[str], None]


def publish(data: Data, say: Say) -> None:
    """Write a data set's files to data.shared unless they are there; without a data.shared: nothing.

    The checksums go last, so whoever sees them sees whole files. Raises UserError where it can't be written to.
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
                checksums[name] = _copy(source, target, size, f"copying {name} to {shared.place}", say)
        shared.write("checksums.json", json.dumps(checksums))
    if local.name != stem_of(data):  # nodes without the source can't know which content is meant
        folder.write(f"{stem_of(data)}.json", json.dumps({"folder": local.name}))


def stage(data: Data, say: Say) -> None:
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
        clear_parts(local.parent)
        with FileLock(f"{local}.lock"):  # the one that writing the files takes as well
            if not (local / "manifest.json").exists():
                _fetch(Folder(data.shared) / name, local, say)
    (local / "manifest.json").touch()  # the files that come last are those that a node without the source takes


def _published(data: Data) -> str:
    """Name of the folder that was published last for these settings."""
    folder, stem = Folder(data.shared), stem_of(data)
    if not folder.exists(f"{stem}.json"):
        return stem
    found = folder.read_json(f"{stem}.json")
    name = found.get("folder") if isinstance(found, dict) else None
    if not isinstance(name, str) or not name.startswith(stem) or "/" in name:
        raise UserError(f"data.shared: {folder.place}/{stem}.json is damaged: delete it")
    return name


def _fetch(shared: Folder, local: Path, say: Say) -> None:
    try:
        checksums = shared.read_json("checksums.json")
    except FileNotFoundError:
        raise UserError(f"data.shared: {shared.place} holds no prepared files, which a run's driver writes") from None
    sizes = {name: shared.size(name) for name in checksums}
    local.mkdir(exist_ok=True)
    needed, free = sum(sizes.values()), shutil.disk_usage(local).free
    if needed > free:
        raise UserError(f"data.root: {local} has {free / 1e9:.1f} GB left, the data set takes {needed / 1e9:.1f}")
    for name in sorted(checksums, key=lambda name: name == "manifest.json"):  # last: it marks the rest as complete
        _fetch_file(shared, local / name, sizes[name], checksums[name], say)


def _fetch_file(shared: Folder, path: Path, size: int, checksum: str, say: Say) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with shared.open_read(path.name) as source, open(part, "wb") as target:
            found = _copy(source, target, size, f"copying {path.name} from {shared.place}", say)
        if found != checksum:
            raise UserError(
                f"data.shared: {shared.place}/{path.name} is damaged (its checksum differs): delete that folder"
            )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _copy(source: BinaryIO, target: BinaryIO, size: int, what: str, say: Say) -> str:
    """Copy a stream, reporting progress every 5 s; returns the SHA-256 of its content."""
    digest, done, said = hashlib.sha256(), 0, time.monotonic()
    for chunk in _chunks(source):
        target.write(chunk)
        digest.update(chunk)
        done += len(chunk)
        if time.monotonic() - said > 5:
            said = time.monotonic()
            say(f"{what}: {done / 1e6:.0f} of {size / 1e6:.0f} MB")
    say(f"{what}: done, {done / 1e6:.1f} MB")
    return digest.hexdigest()


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk

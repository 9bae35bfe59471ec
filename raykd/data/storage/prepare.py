"""Writing a data set's .beton files once, safely, and finding them again."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from raykd import UserError
from raykd.data.config import Data, Encoding, Source
from raykd.data.sources.examples import Splits
from raykd.data.storage import beton

FORMAT = 1  # of the manifest and of what the writer does; a change makes older files stale

Tick = Callable[[str, int, int], None]  # split, images in it, bytes of the image just written


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A data set on disk."""

    train: Path
    test: Path
    classes: tuple[str, ...]
    train_size: int
    test_size: int


def quiet(split: str, total: int, size: int) -> None:
    """No progress."""


def prepare(data: Data, *, download: bool = False, skip_corrupt: bool = False, progress: Tick = quiet) -> Prepared:
    """The data set's files under data.root, written if they aren't there; safe if several processes ask at once.

    Raises UserError for a missing source, a corrupt image, or a stale, truncated, or foreign file, naming it.
    """
    folder = folder_of(data.source, data.encoding, Path(data.root).expanduser())
    if not (folder / "manifest.json").exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not (folder / "manifest.json").exists():
                    _write(folder, data, download, skip_corrupt, progress)
        except OSError as error:  # no permission, no space, no such device: corrupt images are told apart before
            raise UserError(f"data.root {data.root}: {error.strerror}: {error.filename}; choose another") from None
    return _read(folder, data)


def folder_of(source: Source, encoding: Encoding, root: Path) -> Path:
    """Where the files of these settings are: the data set's name and a hash of the settings."""
    settings = json.dumps(_settings(source, encoding), sort_keys=True)
    return root / f"{source.name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def _settings(source: Source, encoding: Encoding) -> dict:
    return json.loads(json.dumps({"source": {"type": source.name} | asdict(source), "encoding": asdict(encoding)}))


def _write(folder: Path, data: Data, download: bool, skip_corrupt: bool, progress: Tick) -> None:
    splits = data.source.open(folder.parent, download)
    folder.mkdir(exist_ok=True)
    manifest = {"format": FORMAT} | _settings(data.source, data.encoding) | {"classes": list(splits.classes)}
    for name in ("train", "test"):
        manifest[name] = _write_split(folder / f"{name}.beton", splits, name, data.encoding, skip_corrupt, progress)
    _replace(folder / "manifest.json", lambda path: path.write_text(json.dumps(manifest, indent=1) + "\n"))


def _write_split(path: Path, splits: Splits, name: str, encoding: Encoding, skip_corrupt: bool, progress: Tick) -> dict:
    examples, skipped = getattr(splits, name), []

    def make(temporary: Path) -> None:
        total = len(examples.labels)
        tick = lambda size: progress(name, total, size)  # noqa: E731
        skipped.extend(
            beton.write(temporary, examples, len(splits.classes), encoding, skip_corrupt=skip_corrupt, tick=tick)
        )

    _replace(path, make)
    return {"samples": len(examples.labels) - len(skipped), "bytes": path.stat().st_size, "skipped": skipped}


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    """Make a file under a temporary name, then rename it: nobody sees half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        make(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(folder: Path, data: Data) -> Prepared:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path} is damaged: delete {folder} and run raykd data prepare again") from None
    if not isinstance(manifest, dict):
        raise UserError(f"{path} is damaged: delete {folder} and run raykd data prepare again")
    wanted = {"format": FORMAT} | _settings(data.source, data.encoding)
    stale = [key for key, value in wanted.items() if manifest.get(key) != value]
    if stale:
        raise UserError(f"{folder} is stale (other {', '.join(stale)}): delete it and run raykd data prepare again")
    try:
        classes = tuple(manifest["classes"])
        (train, train_bytes), (test, test_bytes) = (
            (manifest[k]["samples"], manifest[k]["bytes"]) for k in ("train", "test")
        )
    except (KeyError, TypeError):
        raise UserError(f"{path} is damaged: delete {folder} and run raykd data prepare again") from None
    _check_size(folder / "train.beton", train_bytes)
    _check_size(folder / "test.beton", test_bytes)
    return Prepared(
        train=folder / "train.beton", test=folder / "test.beton", classes=classes, train_size=train, test_size=test
    )


def _check_size(path: Path, size: int) -> None:
    if not path.exists():
        raise UserError(f"{path} is missing: delete {path.parent} and run raykd data prepare again")
    if path.stat().st_size != size:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes instead of {size} (truncated or foreign): "
            f"delete {path.parent} and run raykd data prepare again"
        )

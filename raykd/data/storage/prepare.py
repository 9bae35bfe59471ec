"""Writing a data set's .beton files once, safely, and finding them again.

They lie in a folder named after the source, the settings and the data's content: a folder of images that has changed
has other files. Whoever writes holds the folder's lock, so what is left of a writer that died can be cleared.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from raykd import UserError
from raykd.data.config import Data, Encoding, Prepared, Source
from raykd.data.reading import labels
from raykd.data.reading.listing import content_digest
from raykd.data.reading.pictures import DECODE_ERRORS
from raykd.data.sources.examples import Splits
from raykd.data.storage import beton
from raykd.data.storage.duplicates import remarks

FORMAT = 2  # of the manifest and of what the writer does; a change gets files of its own

Tick = Callable[[str, int, int], None]  # split, images in it, bytes of the image just written


def quiet(split: str, total: int, size: int) -> None:
    """No progress."""


def prepare(data: Data, *, download: bool = False, skip_corrupt: bool = False, progress: Tick = quiet) -> Prepared:
    """The data set's files below data.root, written if they aren't there; safe if several processes ask at once.

    What `progress` raises ends the writing. Raises UserError for a missing source, a corrupt image, labels that don't
    fit, or a stale, truncated, or foreign file, naming it.
    """
    ready = data.source.prepared()
    if ready is not None:
        return ready
    folder = folder_of(data)
    if not (folder / "manifest.json").exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            clear_parts(folder.parent)
            with FileLock(f"{folder}.lock"):
                if not (folder / "manifest.json").exists():
                    _write(folder, data, download or data.download, skip_corrupt, progress)
        except OSError as error:  # no permission, no space, no such device: corrupt images are told apart before
            raise UserError(f"data.root {data.root}: {error.strerror}: {error.filename}; choose another") from None
    return _read(folder, data)


def normalised(data: Data, prepared: Prepared) -> Data:
    """The data with the measured mean and standard deviation where the recipe leaves them open."""
    if data.mean is not None and data.std is not None:
        return data
    if prepared.mean is None or prepared.std is None:
        raise UserError("data.mean, data.std: these files come without measured values: give both")
    return replace(data, mean=data.mean or prepared.mean, std=data.std or prepared.std)


def folder_of(data: Data) -> Path:
    """Where the files of this data are: the source's name, a hash of the settings, and one of the content.

    Where the source itself is not at hand, as on other nodes: the files of these settings that came last.
    """
    root = Path(data.root).expanduser()
    stem = stem_of(data)
    places = data.source.paths()
    if not places:
        return root / stem
    digest = content_digest(places, root)
    if digest:
        return root / f"{stem}-{digest[:8]}"
    written = [path for path in root.glob(f"{stem}-*/manifest.json")]
    return max(written, key=lambda path: path.stat().st_mtime_ns).parent if written else root / stem


def stem_of(data: Data) -> str:
    """The part of the folder's name that says nothing of the content."""
    settings = json.dumps({"format": FORMAT} | _settings(data.source, data.encoding), sort_keys=True)
    return f"{data.source.name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def _settings(source: Source, encoding: Encoding) -> dict:
    return json.loads(json.dumps({"source": _named(source), "encoding": asdict(encoding)}))


def _named(source: Source) -> dict:
    """A source's fields with its type, and so of the sources in it."""
    values = {name: getattr(source, name) for name in asdict(source)}
    inner = {name: _named(value) if isinstance(value, Source) else value for name, value in values.items()}
    return {"type": source.name} | inner


def clear_parts(root: Path) -> None:
    """Remove what writers that have died left half-written: nobody holds the lock of its folder."""
    for folder in {path.parent for path in root.glob("*/*.part")}:
        try:
            with FileLock(f"{folder}.lock", timeout=0):
                for path in folder.glob("*.part"):
                    path.unlink(missing_ok=True)
        except Timeout:  # it is being written
            continue


def _write(folder: Path, data: Data, download: bool, skip_corrupt: bool, progress: Tick) -> None:
    splits = open_source(data.source, folder.parent, download)
    for name in ("train", "test"):
        part = getattr(splits, name)
        if not len(part.labels):
            raise UserError(f"{data.source.name}: {_empty(name, splits)}")
        labels.check(np.asarray(part.labels), splits.classes, name, part.name)
    labels.check_names(splits.classes, data.source.name)
    folder.mkdir(exist_ok=True)
    manifest: dict[str, Any] = {"format": FORMAT} | _settings(data.source, data.encoding)
    manifest |= {"classes": list(splits.classes), "notes": list(splits.notes)}
    written = {}
    for name in ("train", "test"):
        path = folder / f"{name}.beton"
        written[name] = _write_split(path, splits, name, data.encoding, skip_corrupt, progress)
        manifest[name] = _about(written[name], path)
    manifest["notes"] += remarks(written["train"], written["test"])
    _replace(folder / "manifest.json", lambda path: path.write_text(json.dumps(manifest, indent=1) + "\n"))


def _empty(split: str, splits: Splits) -> str:
    """What to say of a split without images."""
    if split == "train":
        return "the training split has no image"
    if len(splits.train.labels) and not any(label >= 0 for label in splits.train.labels):
        said = "; ".join(("no training image has a label, so that none can be taken for the test", *splits.notes))
        return f"{said}; images without labels train beside a labelled source: see Mixed"
    return "the test split has no image"


def open_source(source: Source, root: Path, download: bool) -> Splits:
    """What the source gives; whatever its parsers make of damaged files is a UserError."""
    try:
        return source.open(root, download)
    except DECODE_ERRORS as error:
        where = ", ".join(map(str, source.paths()))
        said = f"{type(error).__name__}: {error}"
        raise UserError(f"{source.name}: {where or 'its data'} can't be read ({said}): damaged?") from error


def _write_split(
    path: Path, splits: Splits, name: str, encoding: Encoding, skip_corrupt: bool, progress: Tick
) -> beton.Written:
    examples = getattr(splits, name)
    total = len(examples.labels)

    def make(temporary: Path) -> beton.Written:
        tick = lambda size: progress(name, total, size)  # noqa: E731
        return beton.write(temporary, examples, len(splits.classes), encoding, skip_corrupt=skip_corrupt, tick=tick)

    written = _replace(path, make)
    found = np.asarray(written.labels, np.int64)
    if not len(found):
        raise UserError(f"no image of the {name} split can be read: {written.skipped[0]}")
    if name == "train" and (found >= 0).any():
        labels.expect_all(found, splits.classes)
    return written


def _about(written: beton.Written, path: Path) -> dict[str, Any]:
    """What the manifest says of a split."""
    found = np.asarray(written.labels, np.int64)
    mean, std = written.mean_and_std()
    about = {"samples": len(found), "unlabelled": int((found < 0).sum()), "bytes": path.stat().st_size}
    return about | {"sides": written.sides, "mean": mean, "std": std, "skipped": written.skipped}


def _replace(path: Path, make: Callable[[Path], Any]) -> Any:
    """Make a file under a temporary name, then rename it: nobody sees half of it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        made = make(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return made
    finally:
        temporary.unlink(missing_ok=True)


def _read(folder: Path, data: Data) -> Prepared:
    path = folder / "manifest.json"
    damaged = UserError(f"{path} is damaged: delete {folder} and run raykd data prepare again")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise damaged from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
    if not isinstance(manifest, dict):
        raise damaged
    wanted = {"format": FORMAT} | _settings(data.source, data.encoding)
    stale = [key for key, value in wanted.items() if manifest.get(key) != value]
    if stale:
        raise UserError(f"{folder} is stale (other {', '.join(stale)}): delete it and run raykd data prepare again")
    try:
        train, test = manifest["train"], manifest["test"]
        for name in ("train", "test"):
            _check_size(folder / f"{name}.beton", int(manifest[name]["bytes"]))
        return Prepared(
            train=folder / "train.beton",
            test=folder / "test.beton",
            classes=tuple(map(str, manifest["classes"])),
            train_size=int(train["samples"]),
            test_size=int(test["samples"]),
            mean=_three(train["mean"]),
            std=_three(train["std"]),
            sides=(min(train["sides"][0], test["sides"][0]), max(train["sides"][1], test["sides"][1])),
            unlabelled=int(train["unlabelled"]),
            identity=folder.name,
            notes=(*map(str, manifest["notes"]), *_skipped(manifest)),
        )
    except (KeyError, TypeError, ValueError, IndexError):
        raise damaged from None


def _skipped(manifest: dict) -> list[str]:
    return [f"left out of {split}: {line}" for split in ("train", "test") for line in manifest[split]["skipped"]]


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _check_size(path: Path, size: int) -> None:
    if not path.exists():
        raise UserError(f"{path} is missing: delete {path.parent} and run raykd data prepare again")
    if path.stat().st_size != size:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes instead of {size} (truncated, or another file): "
            f"delete {path.parent} and run raykd data prepare again"
        )

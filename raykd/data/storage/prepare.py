"""Writes a data set's .beton files once, safely, and opens them again.

Their folder is named after the source, the settings and the data's content: if a folder of images changes, new files
are written. The writer holds the folder's lock.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from raykd import UserError
from raykd.data.config import Data, Prepared, Source
from raykd.data.examples import Splits
from raykd.data.reading import labels
from raykd.data.reading.listing import content_digest
from raykd.data.reading.pictures import DECODE_ERRORS
from raykd.data.storage import beton
from raykd.data.storage.duplicates import remarks
from raykd.data.storage.manifest import read_manifest
from raykd.data.storage.own_code import code_of
from raykd.storage import atomic

FORMAT = 2  # version of the manifest and of the written files; files of other versions are not read

Tick = Callable[[str, int, int], None]  # split, images in it, bytes of the image just written


def no_progress(split: str, total: int, size: int) -> None:
    """No progress."""


def prepare(
    data: Data, *, download: bool = False, skip_corrupt: bool = False, progress: Tick = no_progress
) -> Prepared:
    """The data set's files below data.root, written if they are missing; safe for concurrent processes.

    An exception of `progress` ends the writing. Raises UserError for a missing source, a corrupt image, labels that
    don't fit, or a stale, truncated, or foreign file, naming it.
    """
    ready = data.source.prepared()
    if ready is not None:
        return ready
    folder = folder_of(data)
    if not (folder / "manifest.json").exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            atomic.clear(folder.parent, "*")  # what killed writers left
            with FileLock(f"{folder}.lock"):
                if not (folder / "manifest.json").exists():
                    _write(folder, data, download or data.download, skip_corrupt, progress)
        except OSError as error:  # no permission, no space, no such device: corrupt images are told apart before
            raise UserError(
                f"data.root {data.root}: {error.strerror}: {error.filename}; choose another folder"
            ) from None
    return read_manifest(folder, _settings(data))


def normalised(data: Data, prepared: Prepared) -> Data:
    """The data with the measured mean and deviation if the recipe gives none; raises UserError if there are none."""
    if data.mean is not None and data.std is not None:
        return data
    if prepared.mean is None or prepared.std is None:
        raise UserError("data.mean, data.std: existing .beton files have no measured values; set both")
    return replace(data, mean=data.mean or prepared.mean, std=data.std or prepared.std)


def folder_of(data: Data) -> Path:
    """The folder of this data's files, named by the source, a hash of the settings, and one of the content.

    If the source is not on this machine, as on other nodes: the newest files of these settings.
    """
    root, stem, name = Path(data.root).expanduser(), settings_stem(data), _name(data)
    written = [] if name else [path for path in root.glob(f"{stem}-*/manifest.json")]
    return max(written, key=lambda path: path.stat().st_mtime_ns).parent if written else root / (name or stem)


def identity_of(data: Data) -> str:
    """What `Prepared.identity` is, or would be, with the source as it is now; empty if it is not on this machine."""
    try:
        ready = data.source.prepared()
    except UserError:
        return ""
    return ready.identity if ready is not None else _name(data)


def _name(data: Data) -> str:
    """The name of the folder of this data's files; empty if the source is not on this machine."""
    paths, stem = data.source.paths(), settings_stem(data)
    digest = content_digest(paths, Path(data.root).expanduser())
    return f"{stem}-{digest[:8]}" if digest and paths else "" if paths else stem


def settings_stem(data: Data) -> str:
    """The folder's name without the content's hash; of a user's own source it has a hash of the code too."""
    settings = json.dumps(_settings(data), sort_keys=True)
    stem = f"{data.source.name}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"
    code = code_of(*_classes(data.source))
    return f"{stem}-{code}" if code else stem


def _classes(source: Source) -> Iterator[type]:
    """The classes of a source and of those nested in it."""
    yield type(source)
    for field in fields(source):
        value = getattr(source, field.name)
        if isinstance(value, Source):
            yield from _classes(value)


def _settings(data: Data) -> dict[str, Any]:
    """What the written files depend on, as JSON has it."""
    settings = {"format": FORMAT, "source": _source_settings(data.source), "encoding": asdict(data.encoding)}
    return json.loads(json.dumps(settings))


def _source_settings(source: Source) -> dict:
    """A source's type and fields, nested sources likewise."""
    values = {field.name: getattr(source, field.name) for field in fields(source)}
    inner = {name: _source_settings(value) if isinstance(value, Source) else value for name, value in values.items()}
    return {"type": source.name} | inner


def _write(folder: Path, data: Data, download: bool, skip_corrupt: bool, progress: Tick) -> None:
    splits = open_source(data.source, folder.parent, download)
    parts = {"train": splits.train, "test": splits.test}
    for name, examples in parts.items():
        if not len(examples.labels):
            raise UserError(f"{data.source.name}: {_empty(name, splits)}")
        labels.check_labels(np.asarray(examples.labels), splits.classes, name, examples.name)
    labels.check_names(splits.classes, data.source.name)
    folder.mkdir(exist_ok=True)
    written, about = {}, {}
    for name, examples in parts.items():
        path, tick = folder / f"{name}.beton", partial(progress, name, len(examples.labels))
        with atomic.replacing(path) as temporary:
            written[name] = beton.write(temporary, examples, data.encoding, skip_corrupt=skip_corrupt, tick=tick)
        _expect_read(written[name], name, splits.classes)
        about[name] = _about(written[name], path)
    notes = [*splits.notes, *remarks(written["train"], written["test"])]
    manifest = _settings(data) | {"classes": splits.classes, "notes": notes} | about
    atomic.write(folder / "manifest.json", json.dumps(manifest, indent=1).encode() + b"\n")


def _empty(split: str, splits: Splits) -> str:
    """The message about a split without images."""
    if split == "train":
        return "the training split has no images"
    if len(splits.train.labels) and not any(label >= 0 for label in splits.train.labels):
        reasons = "; ".join(("no training image has a label, so none can be held out as a test split", *splits.notes))
        return f"{reasons}; to train with unlabelled images, combine them with a labelled source (Mixed)"
    return "the test split has no images"


def open_source(source: Source, root: Path, download: bool) -> Splits:
    """The source's splits; raises UserError, also for any exception of a parser on damaged files."""
    try:
        return source.open(root, download)
    except DECODE_ERRORS as error:
        paths, reason = ", ".join(map(str, source.paths())), f"{type(error).__name__}: {error}"
        raise UserError(
            f"{source.name}: {paths or 'its data'} can't be read ({reason}): the files may be damaged"
        ) from error


def _expect_read(written: beton.WrittenSplit, name: str, classes: Sequence[str]) -> None:
    """Raise UserError if corrupt images were all of a split, or all training images of a class."""
    if not len(written.labels):
        raise UserError(f"no image of the {name} split can be read: {written.skipped[0]}")
    if name == "train" and (written.labels >= 0).any():
        labels.expect_all(written.labels, classes)


def _about(written: beton.WrittenSplit, path: Path) -> dict[str, Any]:
    """The manifest's entry of a split."""
    mean, std = written.mean_and_std()
    return {
        "samples": len(written.labels),
        "unlabelled": int((written.labels < 0).sum()),
        "bytes": path.stat().st_size,
        "sides": (int(written.shapes.min()), int(written.shapes.max())),
        "mean": mean,
        "std": std,
        "skipped": written.skipped,
    }

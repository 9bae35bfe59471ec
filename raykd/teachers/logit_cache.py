"""Logits of frozen teachers kept in files, for the very crops that training sees.

Pixels are a pure function of (seed, pass, index), so a teacher's logits are too: they are written when training first
asks for them, and read by every later run on the same data with the same seed, whatever its student, method, batch
size, or number of workers. One file a teacher and pass, a row a sample, and a checksum a row: a row that is missing,
half-written or damaged is computed again.
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.data.order import INDEX_MASK, PASS_SHIFT
from raykd.data.transfer import to_device
from raykd.recipe import Recipe
from raykd.recipe.serial import to_dict
from raykd.teachers.cache_format import Full, TopK, row
from raykd.teachers.frozen_teacher import FrozenTeacher

PIXELS = ("source", "image_size", "mean", "std", "train", "validation", "encoding")  # fields of `data`


class Kept:
    """One teacher's logits by tag (index | pass << 40), in a folder that several processes may share."""

    def __init__(self, folder: Path, samples: int, form: Full | TopK):
        self.folder, self.samples, self.row = folder, samples, form
        self._open: dict[int, tuple[np.memmap, np.memmap]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def logits(self, tags: np.ndarray, device: torch.device, compute: Callable[[], Tensor]) -> Tensor:
        """Logits [B, C] of tags [B]: read where all are there and whole, else computed for the batch and written."""
        rows = self._read(tags)
        if rows is None:
            # Unpacked also when just computed: a run that fills the files and one that reads them see the same numbers.
            rows = self.row.pack(compute().detach().float().cpu().numpy())
            self._write(tags, rows)
        return to_device(torch.from_numpy(self.row.unpack(rows)), device)

    def read(self, tags: np.ndarray) -> np.ndarray | None:
        """Logits [B, C], or None where a row is missing or does not match its checksum."""
        rows = self._read(tags)
        return None if rows is None else self.row.unpack(rows)

    def write(self, tags: np.ndarray, logits: np.ndarray) -> None:
        self._write(tags, self.row.pack(logits))

    def missing(self, tags: np.ndarray) -> np.ndarray:
        """Mask [B] of the rows that nobody has written."""
        found = np.empty(len(tags), bool)
        for epoch, rows in _by_pass(tags):
            found[rows] = self._pass(epoch)[1][tags[rows] & INDEX_MASK] == 0
        return found

    def _read(self, tags: np.ndarray) -> np.ndarray | None:
        found = np.empty((len(tags), self.row.bytes), np.uint8)
        for epoch, rows in _by_pass(tags):
            logits, sums = self._pass(epoch)
            index = tags[rows] & INDEX_MASK
            wanted = sums[index]
            if not wanted.all():
                return None
            found[rows] = logits[index]
            if not np.array_equal(_checksums(found[rows]), wanted):
                return None
        return found

    def _write(self, tags: np.ndarray, values: np.ndarray) -> None:
        for epoch, rows in _by_pass(tags):
            logits, sums = self._pass(epoch)
            index = tags[rows] & INDEX_MASK
            logits[index] = values[rows]
            sums[index] = _checksums(values[rows])

    def _pass(self, epoch: int) -> tuple[np.memmap, np.memmap]:
        """The files of one pass; a batch may reach into the next, so the last two stay open."""
        if epoch not in self._open:
            for old in sorted(self._open)[:-1]:
                del self._open[old]
            logits = self._map(f"pass-{epoch:06d}.logits", (self.samples, self.row.bytes), "uint8")
            self._open[epoch] = (logits, self._map(f"pass-{epoch:06d}.sums", (self.samples,), "uint32"))
        return self._open[epoch]

    def _map(self, name: str, shape: tuple[int, ...], kind: str) -> np.memmap:
        path, size = self.folder / name, int(np.prod(shape)) * np.dtype(kind).itemsize
        with open(path, "ab") as file:  # appending makes it where it is missing and never cuts it off
            if file.tell() != size:
                file.truncate(size)  # sparse: rows that nobody has written take no room
        return np.memmap(path, dtype=kind, mode="r+", shape=shape)


def _by_pass(tags: np.ndarray):
    passes = tags >> PASS_SHIFT
    for epoch in np.unique(passes):
        yield int(epoch), passes == epoch


def _checksums(rows: np.ndarray) -> np.ndarray:
    """CRC-32 of every row, never 0, which marks a row that is not there."""
    return np.array([zlib.crc32(row) or 1 for row in np.ascontiguousarray(rows)], np.uint32)


def keep(
    teachers: Sequence[FrozenTeacher], recipe: Recipe, features: Sequence, data: Any, notice: Callable[[str], None]
) -> list[FrozenTeacher]:
    """The teachers with their kept logits, as `teachers.cache` says; `data` is the run's TrainLoader.

    Raises UserError where logits can't stand for the teachers, or where the disk has no room for them.
    """
    kind = recipe.teachers.cache
    if kind == "none" or not teachers:
        return list(teachers)
    if data.mixes:
        raise UserError("teachers.cache: mixing makes new images of every two, whose logits no file can hold: use none")
    if any(features):
        raise UserError(
            "teachers.cache: this method also reads the teachers' feature maps, and only logits are kept: use none"
        )
    root = Path(recipe.data.root).expanduser() / "teachers"
    samples, classes = len(data.labels), data.classes
    places = [root / identity(teacher, recipe, data) for teacher in teachers]
    form = row(kind, classes, recipe.teachers.top_k)
    _expect_room(places, int(-(-recipe.epochs // 1)), samples, form, notice)
    return [replace(t, kept=Kept(place, samples, form)) for t, place in zip(teachers, places, strict=True)]


def identity(teacher: FrozenTeacher, recipe: Recipe, data: Any) -> str:
    """Name and hash of all that a teacher's logits depend on."""
    pixels = to_dict(recipe.data)
    about = {"seed": recipe.seed, "autocast": recipe.precision.autocast, "kind": recipe.teachers.cache}
    about |= {"top_k": recipe.teachers.top_k} if recipe.teachers.top_k else {}
    about |= {"form": recipe.teachers.form} if recipe.teachers.form != "recipe" else {}
    own_size = teacher.network.own_size
    about |= {"own_size": own_size} if own_size != recipe.data.image_size else {}
    about |= {"tf32": False} if not recipe.precision.tf32 else {}
    about |= {name: pixels[name] for name in PIXELS}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(data.labels.numpy().tobytes())
    for tensor in _tensors(teacher.network):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return f"{teacher.network.name.replace(':', '-').replace('/', '-')}-{digest.hexdigest()[:16]}"


def _tensors(network: nn.Module):
    yield from network.parameters()
    yield from network.buffers()  # a renormalised teacher's map is one, though no checkpoint holds it


def _expect_room(places: list[Path], passes: int, samples: int, form: Full | TopK, notice) -> None:
    each = passes * samples * (form.bytes + 4)
    there = sum(file.stat().st_blocks * 512 for place in places for file in place.glob("pass-*"))
    needed = max(0, each * len(places) - there)
    places[0].parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(places[0].parent).free
    said = f"{len(places)} teacher(s) × {passes} passes × {samples:,} images × {form.classes} classes"
    said += f", {form.k} of which are kept," if isinstance(form, TopK) else ""
    if needed > free:
        raise UserError(
            f"teachers.cache: {said} need {needed / 1e9:.1f} GB more in {places[0].parent}; {free / 1e9:.1f} are free"
        )
    notice(
        f"teachers' logits: {said} in {places[0].parent}: {there / 1e9:.2f} GB there, {needed / 1e9:.2f} GB to write"
    )

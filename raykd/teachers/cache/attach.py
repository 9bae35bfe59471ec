"""Attaches caches to teachers: what is cached, how much disk space it needs, and whether that is available."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from raykd import UserError
from raykd.models.staged import Staged
from raykd.recipe import Recipe
from raykd.recipe.length import total_steps
from raykd.teachers.cache import folders
from raykd.teachers.cache.claims import Claims
from raykd.teachers.cache.formats import Format, Full, TopK, suits
from raykd.teachers.cache.key import digest_of, key_of
from raykd.teachers.cache.row_files import Layout, RowFiles
from raykd.teachers.cache.teacher_cache import TeacherCache, TensorCache
from raykd.teachers.cache.write_behind import WriteBehind
from raykd.teachers.frozen_teacher import FrozenTeacher


class Planned(NamedTuple):
    """One tensor of one teacher to cache, before any of its files is opened."""

    teacher: FrozenTeacher
    what: str  # "logits", or the name of a feature
    format: Format
    layout: Layout
    folder: Path
    seed: int
    content: str  # of the data

    @property
    def covered(self) -> int:
        """Uncompressed bytes of the rows that exist."""
        if not self.layout.width:
            return folders.allocated(self.folder)
        stride = self.layout.stride
        return sum(-(-path.stat().st_size // stride) * stride for path in self.folder.glob("*.rows"))

    @property
    def about(self) -> dict[str, Any]:
        """The description that `raykd data clean` shows."""
        values = f"top {self.format.k} of {self.format.classes}" if isinstance(self.format, TopK) else self.format.kind
        tensor = {"teacher": self.teacher.name, "path": self.teacher.path, "what": self.what, "kept": values}
        return tensor | {"data": self.content, "seed": self.seed}


def attach_cache(
    teachers: Sequence[FrozenTeacher],
    recipe: Recipe,
    features: Sequence[Sequence[str]],
    data: Any,
    writer: WriteBehind,
    notify: Callable[[str], None],
) -> list[FrozenTeacher]:
    """The teachers with the caches that `teachers.cache` requests; missing ones are created.

    features: of each teacher, the method's `teacher_features`. data: the run's TrainLoader. notify: gets their size.
    Raises UserError if they exceed the disk or `teachers.cache_gb`.
    """
    if recipe.teachers.cache == "none" or not teachers:
        return list(teachers)
    plans = [_planned(t, recipe, names, data) for t, names in zip(teachers, features or [()] * len(teachers))]
    images = data.distinct_images(total_steps(recipe, data.size))
    check_free_space([plan for each in plans for plan in each], images, recipe.teachers.cache_gb, notify)
    caches = [_cache(each, writer) for each in plans]
    return [replace(teacher, cache=cache) for teacher, cache in zip(teachers, caches, strict=True)]


def _planned(teacher: FrozenTeacher, recipe: Recipe, features: Sequence[str], data: Any) -> list[Planned]:
    weights, plans = digest_of(teacher.network), []
    for what in ("logits", *dict.fromkeys(features)):
        stored = _format(teacher.network, what, recipe)
        compressed = recipe.teachers.cache_compression and suits(stored.bytes)
        width = (2 if stored.kind == "float16" else 4) if compressed and isinstance(stored, Full) else 0
        tensor = {"what": what, "format": str(stored), "compressed": compressed}
        key = key_of(teacher, weights, recipe, data, tensor)
        name = "-".join((teacher.network.name, what, key)).replace(":", "-").replace("/", "-")
        folder, layout = folders.root_of(recipe.data.root) / name, Layout(stored.bytes, data.size, width)
        plans.append(Planned(teacher, what, stored, layout, folder, recipe.seed, data.identity))
    return plans


def _format(network: Staged, what: str, recipe: Recipe) -> Format:
    kind = recipe.teachers.cache
    if what != "logits":
        return Full(network.shapes[what], "float32" if kind == "float32" else "float16")
    outputs = network.num_classes or network.width("pooled")
    return TopK(outputs, recipe.teachers.top_k) if kind == "top-k" else Full((outputs,), kind)


def check_free_space(plans: Sequence[Planned], images: int, most_gb: float, notify: Callable[[str], None]) -> None:
    """Report the size of the caches; raises UserError if the missing part does not fit."""
    root = plans[0].folder.parent
    total = sum(plan.layout.stride for plan in plans) * images
    there = sum(folders.allocated(plan.folder) for plan in plans)
    missing = max(0, total - sum(plan.covered for plan in plans))
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    tensors = ", ".join(f"{plan.teacher.name} {plan.what} {plan.layout.bytes:,} bytes" for plan in plans)
    what = f"teacher cache in {root}: {images:,} images × ({tensors})"
    clean = "raykd data clean removes old caches"
    if missing > free:
        raise UserError(f"teachers.cache: {what} need {gb(missing)} more, but only {gb(free)} are free; {clean}")
    used = sum(folders.allocated(folder) for folder in folders.all_in(root))
    if most_gb and used + missing > most_gb * 1e9:
        raise UserError(
            f"teachers.cache: {what} need {gb(missing)} more; all caches there use {gb(used)}, and teachers.cache_gb "
            f"allows {most_gb:g} GB; {clean}"
        )
    most = "at most " if any(plan.layout.width for plan in plans) else ""
    notify(f"{what}: {gb(there)} written, {most}{gb(missing)} to write, {gb(free)} free")


def gb(count: float) -> str:
    return f"{count / 1e9:.2f} GB"


def _cache(plans: Sequence[Planned], writer: WriteBehind) -> TeacherCache:
    tensors = {plan.what: _opened(plan, writer.notify) for plan in plans}
    return TeacherCache(tensors, writer, Claims(tensors["logits"].files.folder))


def _opened(plan: Planned, warn: Callable[[str], None]) -> TensorCache:
    folders.use(plan.folder, plan.about)
    return TensorCache(f"{plan.teacher.name}'s {plan.what}", plan.format, RowFiles(plan.folder, plan.layout, warn))

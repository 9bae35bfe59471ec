"""The comparison: runs grouped by data set, student and method; means, deviations, intervals, gains."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from raykd import UserError
from raykd.report.collect import RunRecord

CONFIDENCE = 0.95
# Fields in which runs of one row may differ: the seed, and how and where a run is carried out and shown.
FREE = {
    *("seed", "seeds", "workers", "cpus_per_worker", "gpus_per_worker", "accelerator_type", "max_failures"),
    *("max_parallel", "log_every", "checkpoint", "wandb", "debug", "search", "published", "root", "loader", "path"),
    *("placement", "actors", "cpus_per_actor", "gpus_per_actor", "ahead"),
}


class Spread(NamedTuple):
    """A quantity over the seeds of a row."""

    mean: float
    deviation: float  # sample standard deviation, nan for n = 1
    n: int


class Gain(NamedTuple):
    """Difference of two means with Welch's confidence interval (nan where a group has one run)."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """Finished runs of one recipe that differ in their seed."""

    data: str
    student: str
    method: str
    variant: str  # the fields that set it apart from the method's other rows, "" if it is alone
    name: str  # what the runs' names have in common
    runs: tuple[RunRecord, ...]

    @property
    def label(self) -> str:
        return f"{self.method} ({self.variant})" if self.variant else self.method

    @property
    def split(self) -> str:
        return self.runs[0].split


def compare_rows(records: Iterable[RunRecord]) -> list[Row]:
    """Rows of finished runs; raises UserError where runs of one name have different recipes."""
    groups: dict[tuple[str, str, str], list[RunRecord]] = {}
    for record in records:
        if record.status == "finished":
            groups.setdefault(record.labels[:3], []).append(record)
    return [row for key in sorted(groups) for row in _rows(key, groups[key])]


def _rows(key: tuple[str, str, str], records: list[RunRecord]) -> list[Row]:
    by_name: dict[str, list[RunRecord]] = {}
    for record in records:
        by_name.setdefault(stem(record), []).append(record)
    for name, runs in by_name.items():
        for run in runs[1:]:
            if different := differences(runs[0].recipe, run.recipe):
                raise UserError(
                    f"{runs[0].path} and {run.path} are both called {name!r} but differ in {', '.join(different)}: "
                    "give the runs of each recipe their own name"
                )
    merged: list[list[RunRecord]] = []  # names that hold one and the same recipe are one row
    for runs in by_name.values():
        twin = next((group for group in merged if not differences(group[0].recipe, runs[0].recipe)), None)
        merged.append(runs) if twin is None else twin.extend(runs)
    recipes = [group[0].recipe for group in merged]
    return [
        Row(
            data=key[0],
            student=key[1],
            method=key[2],
            variant=_variant(recipes, i),
            name=stem(group[0]),
            runs=tuple(sorted(group, key=lambda run: (run.labels.seed, run.name))),
        )
        for i, group in enumerate(merged)
    ]


def stem(record: RunRecord) -> str:
    """A run's name without its seed: kd-seed3, kd-s3, kd_3 and kd/3 of seed 3 are all kd."""
    return re.sub(rf"[-_./ ]?(?:seed|s)?[-_=]?{record.labels.seed}$", "", record.name) or record.name


def plain(recipe: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted field to value, without the fields in which runs of one row may differ."""
    if isinstance(recipe, dict):
        items = {key: value for key, value in recipe.items() if key not in FREE}
    elif isinstance(recipe, list):
        items = {str(i): value for i, value in enumerate(recipe)}
    else:
        return {prefix: recipe}
    return {
        key: leaf for name, value in items.items() for key, leaf in plain(value, f"{prefix}.{name}".strip(".")).items()
    }


def differences(a: dict, b: dict) -> list[str]:
    """Fields in which two recipes differ, as "method.temperature (2.0, 4.0)"."""
    left, right = plain(a), plain(b)
    keys = [key for key in {**left, **right} if left.get(key, "absent") != right.get(key, "absent")]
    return [f"{key} ({left.get(key, 'absent')}, {right.get(key, 'absent')})" for key in keys]


def _variant(recipes: list[dict], index: int) -> str:
    """The values that this recipe has where the recipes differ, e.g. "temperature 2.0"."""
    flat = [plain(recipe) for recipe in recipes]
    keys = [key for key in {k: None for f in flat for k in f} if len({repr(f.get(key, "absent")) for f in flat}) > 1]
    keys = [key for key in keys if not key.endswith("class")] or keys
    shown = [f"{key.rsplit('.', 1)[-1]} {flat[index].get(key, 'absent')}" for key in keys]
    return ", ".join(shown[:3] + (["…"] if len(shown) > 3 else []))


def spread(values: Iterable[float]) -> Spread:
    """Mean and sample deviation of the values that are there."""
    array = np.array([value for value in values if value is not None], dtype=float)
    if not len(array):
        return Spread(np.nan, np.nan, 0)
    return Spread(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else np.nan, len(array))


def gain(values: list[float], baseline: list[float]) -> Gain:
    """Mean minus the baseline's mean; Welch's unequal-variances t interval needs two runs on either side."""
    difference = float(np.mean(values) - np.mean(baseline))
    if min(len(values), len(baseline)) < 2 or (np.ptp(values) == 0 and np.ptp(baseline) == 0):
        return Gain(difference, np.nan, np.nan)
    from scipy import stats

    parts = [(float(np.var(runs, ddof=1)) / len(runs), len(runs) - 1) for runs in (values, baseline)]
    square = sum(part for part, _ in parts)  # of the difference's standard error
    freedom = square**2 / sum(part**2 / degrees for part, degrees in parts)  # Welch and Satterthwaite
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * square**0.5
    return Gain(difference, difference - half, difference + half)


def find_baseline(rows: list[Row], row: Row, wanted: str) -> Row | None:
    """The row that a row's gain is over: of its data set, student and split; None for the baseline itself."""
    same = [r for r in rows if (r.data, r.student, r.split) == (row.data, row.student, row.split)]
    wanted = wanted.casefold()
    found = [r for r in same if wanted in (r.label.casefold(), r.name.casefold())]
    found = found or [r for r in same if r.method.casefold() == wanted]
    if len(found) > 1:
        names = ", ".join(r.name for r in found)
        raise UserError(
            f"{wanted} is more than one row of {row.data}, {row.student}: choose one with --baseline ({names})"
        )
    return found[0] if found and found[0] is not row else None


def check_baseline(rows: list[Row], wanted: str) -> None:
    """Raise UserError where no row is called as --baseline says."""
    if not any(wanted.casefold() in (name.casefold() for name in (row.method, row.label, row.name)) for row in rows):
        known = ", ".join(sorted({name for row in rows for name in (row.method, row.name)}))
        raise UserError(f"no finished run of the baseline {wanted!r}: --baseline takes one of {known}")

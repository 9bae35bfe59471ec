"""Quantities over epochs: mean, minimum and maximum over the seeds of a row, thinned for a figure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raykd.reports.collect import RunRecord
from raykd.reports.compare import Row

POINTS = 120  # maximum points of a curve in a figure


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Mean, minimum and maximum over the seeds that have the epoch."""

    name: str
    epochs: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def curve(name: str, runs: Iterable[Iterable[tuple[float, float]]]) -> Curve:
    """One curve of several runs' (epoch, value) points; non-finite values are skipped.

    Of many epochs, it has the last one of each of POINTS stretches, and the band over the whole stretch.
    """
    by_epoch: dict[float, list[float]] = {}
    for run in runs:
        for epoch, value in run:
            if math.isfinite(value):
                by_epoch.setdefault(epoch, []).append(value)
    epochs = sorted(by_epoch)
    count = min(len(epochs), POINTS)
    ends = [round((i + 1) * len(epochs) / count) for i in range(count)]
    stretches = [[by_epoch[epoch] for epoch in epochs[start:end]] for start, end in zip([0, *ends], ends)]
    return Curve(
        name=name,
        epochs=[epochs[end - 1] for end in ends],
        mean=[sum(stretch[-1]) / len(stretch[-1]) for stretch in stretches],
        low=[min(map(min, stretch)) for stretch in stretches],
        high=[max(map(max, stretch)) for stretch in stretches],
    )


def deployed_curve(row: Row) -> Curve:
    """Top-1 of the deployed network."""
    return curve(row.label, [[(e, nets[run.deployed].top1) for e, nets in run.evaluations] for run in row.runs])


def accuracy_curves(row: Row) -> list[Curve]:
    """Top-1 of each network, the deployed one first."""
    names = dict.fromkeys(name for run in row.runs for _, nets in run.evaluations for name in nets)
    return [
        curve(n, [[(e, nets[n].top1) for e, nets in run.evaluations if n in nets] for run in row.runs]) for n in names
    ]


def line_curves(row: Row, section: str) -> dict[str, list[Curve]]:
    """By title: curves of "terms", "notes" or "measures"; a vector is one figure with a curve for each element."""
    names = dict.fromkeys(name for run in row.runs for line in run.lines for name in getattr(line, section))
    return {name: _elements(row, section, name) for name in names}


def _flat(value: float | list | None) -> list[float]:
    """A number, a vector or a matrix as a flat list; empty for None."""
    if isinstance(value, list):
        return [number for item in value for number in _flat(item)]
    return [] if value is None else [value]


def _elements(row: Row, section: str, name: str) -> list[Curve]:
    runs = [[(line.epoch, _flat(getattr(line, section).get(name))) for line in run.lines] for run in row.runs]
    size = max(len(values) for run in runs for _, values in run)
    names = _element_names(row.runs[0], size) if size > 1 else [name]
    return [curve(names[i], [[(e, v[i]) for e, v in run if len(v) > i] for run in runs]) for i in range(size)]


def _element_names(run: RunRecord, size: int) -> Sequence[str]:
    """Names of a vector's elements: the teachers if there are as many, else numbers."""
    teachers = list(run.evaluation.teachers) if run.evaluation else []
    return teachers if len(teachers) == size else [str(i + 1) for i in range(size)]

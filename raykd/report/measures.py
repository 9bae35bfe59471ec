"""The numbers of the comparison, an entry a row: from metrics.jsonl, evaluation.json and result.json alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from raykd.report.collect import RunRecord
from raykd.report.compare import Gain, Row, Spread, find_baseline, gain, spread


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the comparison table. Accuracies are fractions; `last` is the last epoch's, `best` the best one's."""

    row: Row
    last: Spread
    last_epochs: list[float]
    best: Spread
    best_epochs: list[float]
    top5: Spread
    loss: Spread
    ece: Spread
    gain: Gain | None  # of the last epoch's top-1 over the baseline
    baseline: Row | None
    teacher: Spread  # top-1 of each run's best teacher
    closed: float  # share of the gap between baseline and teacher, nan where there is none
    agreement: dict[str, tuple[Spread, Spread]]  # teacher → share of equal top-1, mean KL
    parameters: int
    flops: float
    compute: Spread  # GPU-hours, or CPU-hours where the runs had no GPU
    unit: str
    images_per_second: Spread
    published: list[dict[str, Any]]
    restarts: int


def entries(rows: list[Row], baseline: str) -> list[Entry]:
    """An entry a row: by data set and student, the baseline first, then by falling accuracy."""
    found = [entry(row, find_baseline(rows, row, baseline)) for row in rows]
    bases = {id(item.baseline) for item in found}
    key = lambda item: (item.row.data, item.row.student, item.row.split, id(item.row) not in bases, -item.last.mean)  # noqa: E731
    return sorted(found, key=key)


def entry(row: Row, baseline: Row | None) -> Entry:
    runs = row.runs
    teacher = spread(best_teacher(run) for run in runs)
    mine, other = final(runs, "top1"), final(baseline.runs, "top1") if baseline else []
    first = runs[0]
    return Entry(
        row=row,
        last=spread(mine),
        last_epochs=[run.evaluations[-1][0] for run in runs],
        best=spread(best(run)[1] for run in runs),
        best_epochs=[best(run)[0] for run in runs],
        top5=spread(final(runs, "top5")),
        loss=spread(final(runs, "loss")),
        ece=spread(final(runs, "ece")),
        gain=gain(mine, other) if baseline else None,
        baseline=baseline,
        teacher=teacher,
        closed=closed_share(np.mean(mine), np.mean(other), teacher.mean) if baseline else np.nan,
        agreement=agreement(runs),
        parameters=first.result.get("parameters", 0),
        flops=first.evaluation.get("flops", np.nan),
        compute=spread(hours(run) for run in runs),
        unit="GPU-h" if first.recipe.get("gpus_per_worker") else "CPU-h",
        images_per_second=spread(run.result.get("images_per_second") for run in runs),
        published=first.recipe.get("published") or [],
        restarts=sum(run.result.get("restarts") or 0 for run in runs),
    )


def final(runs: tuple[RunRecord, ...], metric: str) -> list[float]:
    """The deployed network's figure at each run's last evaluation, of the runs that have it."""
    values = [run.evaluations[-1][1][run.deployed].get(metric) for run in runs]
    return [value for value in values if value is not None]


def best(run: RunRecord) -> tuple[float, float]:
    """(epoch, top-1) of the deployed network's best evaluation, the earliest among equals."""
    return max(((epoch, nets[run.deployed]["top1"]) for epoch, nets in run.evaluations), key=lambda pair: pair[1])


def best_teacher(run: RunRecord) -> float | None:
    """Top-1 of the most accurate teacher on the run's evaluation split."""
    return max((t["top1"] for t in run.evaluation.get("teachers", {}).values()), default=None)


def closed_share(student: float, baseline: float, teacher: float) -> float:
    """(student - baseline) / (teacher - baseline); nan where the teacher is not above the baseline."""
    return float((student - baseline) / (teacher - baseline)) if teacher > baseline else np.nan


def agreement(runs: tuple[RunRecord, ...]) -> dict[str, tuple[Spread, Spread]]:
    """By teacher: share of images with the same top-1 and mean KL of the deployed network, at the last evaluation."""
    last = [run.evaluations[-1][1][run.deployed].get("agreement", {}) for run in runs]
    names = dict.fromkeys(name for each in last for name in each)
    pick = {n: [each[n] for each in last if n in each] for n in names}
    return {n: (spread(a.get("top1") for a in found), spread(a.get("kl") for a in found)) for n, found in pick.items()}


def hours(run: RunRecord) -> float:
    """Seconds × devices / 3600: GPUs where the run had some, else CPUs."""
    each = run.recipe.get("gpus_per_worker") or run.recipe.get("cpus_per_worker") or 1
    return run.result["seconds"] * max(run.result["workers"], 1) * each / 3600


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A quantity over epochs: mean, least and most over the seeds that have the epoch."""

    name: str
    epochs: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def curve(name: str, runs: list[list[tuple[float, float]]]) -> Curve:
    """One curve of several runs' (epoch, value) points."""
    points: dict[float, list[float]] = {}
    for run in runs:
        for epoch, value in run:
            if value is not None and np.isfinite(value):
                points.setdefault(epoch, []).append(value)
    epochs = sorted(points)
    values = [points[epoch] for epoch in epochs]
    mean = [float(np.mean(v)) for v in values]
    return Curve(name=name, epochs=epochs, mean=mean, low=[min(v) for v in values], high=[max(v) for v in values])


def accuracy_curves(row: Row) -> list[Curve]:
    """Top-1 of each network, the deployed one first."""
    names = dict.fromkeys(name for run in row.runs for _, nets in run.evaluations for name in nets)
    return [
        curve(n, [[(e, nets[n]["top1"]) for e, nets in run.evaluations if n in nets] for run in row.runs])
        for n in names
    ]


def deployed_curve(row: Row) -> Curve:
    return curve(row.label, [[(e, nets[run.deployed]["top1"]) for e, nets in run.evaluations] for run in row.runs])


def line_curves(row: Row, section: str) -> dict[str, list[Curve]]:
    """By title: curves of "terms", "notes" or "measures"; a vector is one figure with a curve for each element."""
    names = dict.fromkeys(name for run in row.runs for line in run.lines for name in line.get(section) or {})
    return {name: _elements(row, section, name) for name in names}


def _elements(row: Row, section: str, name: str) -> list[Curve]:
    runs = [[(line["epoch"], (line.get(section) or {}).get(name)) for line in run.lines] for run in row.runs]
    present = [value for run in runs for _, value in run if value is not None]
    if not isinstance(present[0], list):
        return [curve(name, runs)]
    size = max(len(value) for value in present)
    element = lambda run, i: [(e, v[i]) for e, v in run if v is not None and len(v) > i]  # noqa: E731
    known = list(row.runs[0].evaluation.get("teachers", {}))
    names = known if len(known) == size else [str(i + 1) for i in range(size)]
    return [curve(names[i], [element(run, i) for run in runs]) for i in range(size)]


def class_gains(item: Entry) -> list[tuple[str, float, float]]:
    """(class, accuracy, gain over the baseline) of the final evaluation, means over seeds; [] without the figures."""
    mine, other = _per_class(item.row), _per_class(item.baseline) if item.baseline else None
    if mine is None or other is None or len(mine) != len(other):
        return []
    names = item.row.runs[0].evaluation.get("class_names") or [str(i) for i in range(len(mine))]
    return [(str(name), float(a), float(a - b)) for name, a, b in zip(names, mine, other, strict=True)]


def _per_class(row: Row) -> np.ndarray | None:
    found = [net["per_class"] for run in row.runs if (net := deployed_evaluation(run)) and net.get("per_class")]
    return np.mean(found, axis=0) if found else None


def deployed_evaluation(run: RunRecord) -> dict[str, Any]:
    return run.evaluation.get("networks", {}).get(run.deployed, {})


def calibration(row: Row) -> list[tuple[int, float, float]]:
    """(images, mean confidence, accuracy) of each bin with images, over all seeds of a row."""
    bins = [net["calibration"] for run in row.runs if (net := deployed_evaluation(run)) and net.get("calibration")]
    if not bins:
        return []
    table = np.nan_to_num(np.array(bins, dtype=float))
    count = table[:, :, 0].sum(0)
    weighted = (table[:, :, 1:] * table[:, :, :1]).sum(0) / np.maximum(count, 1)[:, None]
    return [(int(n), float(c), float(a)) for n, (c, a) in zip(count, weighted, strict=True) if n]

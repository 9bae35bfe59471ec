"""The numbers of the comparison: one entry for each row, from the validated files of its runs."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from raykd.metric import FORMAT
from raykd.reports.collect import RunRecord, whole_epoch
from raykd.reports.compare import Baseline, Row
from raykd.reports.tables.published import Quoted
from raykd.reports.tables.statistics import Gain, Mark, Spread, compared_with_best, gain, spread
from raykd.runs.results.models import Evaluation


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the comparison table. Accuracies are fractions; `last` is the last epoch's, `best` the best one's."""

    row: Row
    last: Spread
    last_epochs: list[float]
    best: Spread
    best_epochs: list[float]
    metrics: dict[str, Spread]  # every other figure of the deployed network at the last epoch: top5, loss, ece …
    formats: dict[str, str]  # of the metrics that a recipe added
    mark: Mark  # against the best row of its section
    p: float  # of that test, adjusted by Holm; nan for the best row and if untested
    gain: Gain | None  # of the last epoch's top-1 over the baseline
    baseline: Baseline
    teacher: Spread  # top-1 of each run's best teacher
    closed: float  # share of the gap between baseline and teacher that is closed; nan if there is no gap
    agreement: dict[str, tuple[Spread, Spread]]  # teacher → share of equal top-1, mean KL
    parameters: int
    flops: float
    compute: Spread  # GPU-hours, or CPU-hours if the runs had no GPU
    unit: str
    images_per_second: Spread
    latency: Spread  # seconds for one image on one thread; no values unless `raykd export --measure` was run
    published: list[dict[str, Any]]
    restarts: int

    @property
    def label(self) -> str:
        return self.row.label

    @property
    def section(self) -> str:
        return self.row.section

    @property
    def mean_agreement(self) -> tuple[float, float]:
        """Share of equal top-1 and mean KL, means over the teachers; NaN without any."""
        pairs = [(top1.mean, kl.mean) for top1, kl in self.agreement.values()] or [(math.nan, math.nan)]
        return fmean(top1 for top1, _ in pairs), fmean(kl for _, kl in pairs)

    @property
    def several_teachers(self) -> bool:
        return len(self.agreement) > 1

    @property
    def evaluation(self) -> Evaluation | None:
        """The last evaluation of the first run, for what does not depend on the seed."""
        return self.row.runs[0].evaluation

    def difference(self, figure: Quoted) -> float:
        """Own mean minus a published one, of the same epoch: best with best, else last."""
        return (self.best if figure.epoch == "best" else self.last).mean - figure.value


InSection = TypeVar("InSection", Row, Entry)


def entries(rows: list[Row], baseline_of: Callable[[list[Row], Row], Baseline]) -> list[Entry]:
    """One entry for each row: by section, the baseline first, then by decreasing accuracy.

    baseline_of: the baseline of a row, given the rows of its section and the row.
    """
    return [item for part in by_section(rows).values() for item in _section(part, baseline_of)]


def by_section(items: Iterable[InSection]) -> dict[str, list[InSection]]:
    sections: dict[str, list[InSection]] = {}
    for item in items:
        sections.setdefault(item.section, []).append(item)
    return sections


def _section(rows: list[Row], baseline_of: Callable[[list[Row], Row], Baseline]) -> list[Entry]:
    compared = compared_with_best([final(row.runs, "top1") for row in rows])
    section = [entry(row, baseline_of(rows, row), *result) for row, result in zip(rows, compared, strict=True)]
    bases = {id(item.baseline.row) for item in section}
    return sorted(section, key=lambda item: (id(item.row) not in bases, -item.last.mean))


def entry(row: Row, baseline: Baseline, mark: Mark, p: float) -> Entry:
    runs, first = row.runs, row.runs[0]
    mine = final(runs, "top1")
    other = final(baseline.row.runs, "top1") if baseline.row else []
    teacher = spread(best_teacher(run) for run in runs)
    results = [run.result for run in runs if run.result]
    bests = [best(run) for run in runs]
    return Entry(
        row=row,
        last=spread(mine),
        last_epochs=[run.evaluations[-1][0] for run in runs],
        best=spread(top1 for _, top1 in bests),
        best_epochs=[epoch for epoch, _ in bests],
        formats=formats(first),
        metrics={name: spread(final(runs, name)) for name in metric_names(runs)},
        mark=mark,
        p=p,
        gain=gain(mine, other) if other else None,
        baseline=baseline,
        teacher=teacher,
        closed=closed_share(spread(mine).mean, spread(other).mean, teacher.mean),
        agreement=agreement(runs),
        parameters=results[0].parameters,
        flops=first.evaluation.flops if first.evaluation else math.nan,
        compute=spread(hours(run) for run in runs),
        unit="GPU-h" if first.recipe.get("gpus_per_worker") else "CPU-h",
        images_per_second=spread(result.images_per_second for result in results),
        latency=spread(run.deployment.networks[0].latency(1, 1) for run in runs if run.deployment),
        published=first.recipe.get("published") or [],
        restarts=sum(result.restarts for result in results),
    )


def metric_names(runs: Iterable[RunRecord]) -> list[str]:
    """Metrics of the last evaluations other than top1, including user-defined ones."""
    names = ["top5", "loss", "ece"]
    for run in runs:
        names += run.evaluations[-1][1][run.deployed].model_extra or {}
    return list(dict.fromkeys(names))


def formats(run: RunRecord) -> dict[str, str]:
    """Formats of the metrics that a run's recipe adds; invalid formats are ignored."""
    added = [metric for metric in run.recipe.get("metrics", ()) if isinstance(metric, dict)]
    pairs = [(str(metric.get("name")), str(metric.get("format"))) for metric in added]
    return {name: form for name, form in pairs if FORMAT.holds(form)}


def final(runs: Sequence[RunRecord], metric: str) -> list[float]:
    """A metric of the deployed network at each run's last evaluation; NaN if it has none."""
    return [run.evaluations[-1][1][run.deployed].metric(metric) for run in runs]


def best(run: RunRecord) -> tuple[float, float]:
    """(epoch, top-1 of the deployed network) of the run's best evaluation; the earliest of equal ones."""
    top1 = lambda line: line.evaluation[run.deployed].top1  # noqa: E731
    evaluated = [line for line in run.lines if line.evaluation]
    chosen = max(evaluated, key=lambda line: top1(line) if math.isnan(line.selection) else line.selection)
    return whole_epoch(chosen), top1(chosen)


def best_teacher(run: RunRecord) -> float | None:
    """Top-1 of the most accurate teacher on the run's evaluation split, measured by this run."""
    return max((t.top1 for t in run.evaluation.teachers.values()), default=None) if run.evaluation else None


def closed_share(student: float, baseline: float, teacher: float) -> float:
    """(student - baseline) / (teacher - baseline); NaN if the teacher is not above the baseline."""
    return float((student - baseline) / (teacher - baseline)) if teacher > baseline else math.nan


def agreement(runs: Sequence[RunRecord]) -> dict[str, tuple[Spread, Spread]]:
    """By teacher: share of images with the same top-1 and mean KL of the deployed network, at the last evaluation."""
    last = [run.evaluations[-1][1][run.deployed].agreement for run in runs]
    names = dict.fromkeys(name for each in last for name in each)
    pick = {n: [each[n] for each in last if n in each] for n in names}
    return {n: (spread(a.top1 for a in values), spread(a.kl for a in values)) for n, values in pick.items()}


def hours(run: RunRecord) -> float:
    """Device-hours: seconds × devices / 3600, of GPUs if the run had any, else of CPUs."""
    if run.result is None:
        return math.nan
    each = run.recipe.get("gpus_per_worker") or run.recipe.get("cpus_per_worker") or 1
    return run.result.seconds * max(run.result.workers, 1) * each / 3600


def class_accuracy(row: Row) -> dict[str, float]:
    """Accuracy of each class at the final evaluation, means over seeds; {} without the figures."""
    measured = [accuracies for run in row.runs if (accuracies := per_class(run))]
    return {name: spread(each.get(name) for each in measured).mean for name in measured[0]} if measured else {}


def per_class(run: RunRecord) -> dict[str, float]:
    """Accuracy of each class at a run's final evaluation; {} if it was not measured."""
    network = run.evaluation.networks.get(run.deployed) if run.evaluation else None
    return dict(zip(run.evaluation.class_names, network.per_class)) if run.evaluation and network else {}


def class_gains(item: Entry) -> dict[str, float]:
    """Gain over the baseline of each class that both have."""
    mine = class_accuracy(item.row)
    other = class_accuracy(item.baseline.row) if item.baseline.row else {}
    return {name: value - other[name] for name, value in mine.items() if name in other}


def calibration(row: Row) -> list[tuple[int, float, float]]:
    """(images, mean confidence, accuracy) of each bin with images, over all seeds of a row."""
    networks = [run.evaluation.networks.get(run.deployed) for run in row.runs if run.evaluation]
    tables = [network.calibration for network in networks if network and network.calibration]
    return [pooled for bins in zip(*tables) if (pooled := _pooled(bins))[0]]


def _pooled(bins: Sequence[tuple[int, float, float]]) -> tuple[int, float, float]:
    """The same bin of several runs as one."""
    count = sum(images for images, *_ in bins)
    confidence = sum(images * value for images, value, _ in bins)
    right = sum(images * value for images, _, value in bins)
    return count, confidence / max(count, 1), right / max(count, 1)

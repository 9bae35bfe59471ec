"""Dry run of a study: what it would train and the estimated cost."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from rich.progress import track
from rich.table import Table

from raykd import UserError
from raykd.contract import Placement
from raykd.launch.cluster.capacity import with_fixed_workers, workers_of
from raykd.launch.search.setup import setup_of
from raykd.launch.study.plan import CellRun, StudyPlan, finished, runs_of
from raykd.launch.study.progress import duration, grid, rows_and_columns
from raykd.launch.teachers.plan import TeacherPlan
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import essence
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder
from raykd.terminal import Terminal, redraws

SECONDS = 0.3  # duration of the steps that are timed for each kind of run


@dataclass
class Cost:
    """Device-hours of runs, by how they were estimated."""

    of_runs: float = 0.0  # from finished runs of the same recipe
    measured: float = 0.0  # from steps that were timed here
    unknown: dict[str, int] = field(default_factory=dict)  # reason → runs

    @property
    def hours(self) -> float:
        return self.of_runs + self.measured


def dry_run(plan: StudyPlan, console: Terminal) -> None:
    """Print the cells, their finished runs, the teachers to train, and the cost of what remains."""
    runs = runs_of(plan.cells, plan.seeds, plan.name)
    done = finished(runs, plan.storage)
    left = [run for run in runs if run.name not in done]
    console.print(counts(runs, done))
    finished_runs = f"{len(done)} finished, {len(left)} to train"
    console.print(f"{plan.name}: {len(runs)} runs of {len(plan.cells)} cells, {finished_runs}")
    teachers = TeacherPlan(plan.storage)
    for cell in {run.cell.path: run.cell for run in left}.values():
        teachers.add(cell.recipe)
    for line in before_cells(teachers, left):
        console.print(line)
    console.print("estimating: timing a few steps of each kind of run that has not finished yet", style="dim")
    estimate = Estimate(plan.storage)
    paid: list[tuple[Recipe, list[str]]] = [(with_fixed_workers(job.recipe), []) for job in teachers.missing.values()]
    paid += [(run.recipe, [each.name for each in runs if each.cell is run.cell]) for run in left]
    for recipe, alike in track(paid, "estimating", console=console, transient=True, disable=not redraws(console)):
        estimate.add(recipe, alike)
    for line in estimate.lines():
        console.print(line)


def before_cells(plan: TeacherPlan, left: Sequence[CellRun]) -> Iterator[str]:
    """One line for each teacher, and for each search of a tuned row."""
    for teacher, result in plan.finished.items():
        yield f"teacher {teacher}: trained, top-1 {100 * result.top1:.2f} %"
    for teacher in plan.missing:
        yield f"teacher {teacher}: to train"
    for cell in {run.cell.path: run.cell for run in left if run.cell.row.tune is not None}.values():
        yield f"search of {cell.path}: {setup_of(cell.recipe).trials} trials, not included in the estimate"


def counts(runs: Iterable[CellRun], finished: Iterable[str]) -> Table:
    """Rows × columns: finished runs of each cell, and its total."""
    done = set(finished)
    cells: dict[tuple[str, str], list[bool]] = {}
    for run in runs:
        cells.setdefault((run.cell.row.name, run.cell.column.name), []).append(run.name in done)
    texts = {place: f"{sum(of_cell)} of {len(of_cell)}" for place, of_cell in cells.items()}
    return grid(*rows_and_columns(cells), texts)


@dataclass
class Estimate:
    """Accumulates the costs of runs, by kind of device."""

    storage: str
    costs: dict[str, Cost] = field(default_factory=dict)
    _timed: dict[str, float | str] = field(default_factory=dict)  # by recipe without seed; str: why it is unknown

    def add(self, recipe: Recipe, alike: Sequence[str]) -> None:
        """Add the cost of a run. alike: names of runs that differ from it only in the seed."""
        unit = "GPU" if recipe.gpus_per_worker else "CPU"
        devices = recipe.gpus_per_worker or recipe.cpus_per_worker
        cost = self.costs.setdefault(unit, Cost())
        hours = workers_of(recipe)[0] * devices / 3600
        results = [result for name in alike if (result := read_result(Folder(self.storage) / name))]
        if results:
            cost.of_runs += hours * sum(result.seconds for result in results) / len(results)
            return
        seconds = self._time(recipe)
        if isinstance(seconds, str):
            cost.unknown[seconds] = cost.unknown.get(seconds, 0) + 1
        else:
            cost.measured += hours * seconds

    def lines(self) -> list[str]:
        lines = []
        for unit, cost in self.costs.items():
            by = [("from finished runs", cost.of_runs), ("from steps timed here", cost.measured)]
            sources = ", ".join(f"{duration(3600 * hours)} {how}" for how, hours in by if hours)
            lines.append(f"about {cost.hours:.2g} {unit}-hours ({sources or 'nothing known'}), without evaluations")
            lines += [f"{count} run(s) can't be estimated: {reason}" for reason, count in cost.unknown.items()]
        return lines or ["nothing left to train"]

    def _time(self, recipe: Recipe) -> float | str:
        key = json.dumps(essence(replace(recipe, seed=0), defaults=False), sort_keys=True)
        if key not in self._timed:
            self._timed[key] = _timed(recipe)
        return self._timed[key]


def _timed(recipe: Recipe) -> float | str:
    """Estimated seconds of a run from a short measurement in this process; a text if that is impossible here."""
    from raykd.bench.step import run_seconds

    if recipe.gpus_per_worker and not torch.cuda.is_available():
        return "they need a GPU, and this machine has none"
    device = torch.device("cuda", 0) if recipe.gpus_per_worker else torch.device("cpu")
    placement = Placement(device, max(1, recipe.cpus_per_worker), 0, workers_of(recipe)[0])
    try:
        return run_seconds(recipe, placement, SECONDS)
    except UserError as error:
        return str(error)

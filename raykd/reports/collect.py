"""Reads run directories, searches, studies and W&B projects into validated values; nothing is averaged here."""

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from raykd import UserError
from raykd.output import in_texts, one_line
from raykd.recipe.labels import Labels, labels
from raykd.reports.settings import settings
from raykd.reports.tables.csv_input import read_csv
from raykd.reports.tables.study import FILE as STUDY
from raykd.reports.tables.study import Study, read_study
from raykd.runs.results.deployment import Deployment, read_deployment
from raykd.runs.results.models import Accuracy, Evaluation, Line, Model, Result, Text
from raykd.runs.results.read import SMALL, read_checked, read_evaluation, read_metrics, read_recipe, read_result
from raykd.storage.atomic import temporary_folder
from raykd.storage.folder import Folder

NO_RUNS = frozenset({"checkpoints", "source", "wandb"})  # folders inside a run that contain no runs


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run directory, read."""

    path: Path
    name: str
    labels: Labels
    recipe: dict[str, Any]
    result: Result | None  # None: the run has not ended
    lines: list[Line]
    evaluation: Evaluation | None
    deployment: Deployment | None = None  # None: inference cost was not measured

    @property
    def status(self) -> str:
        return self.result.status if self.result else "unfinished"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The fields of its recipe that can change its result."""
        return settings(self.recipe)

    @cached_property
    def evaluations(self) -> list[tuple[float, dict[str, Accuracy]]]:
        """(epoch, networks) of the lines that evaluate; whole epochs are whole numbers."""
        return [(whole_epoch(line), line.evaluation) for line in self.lines if line.evaluation]

    @cached_property
    def deployed(self) -> str:
        """The deployed network: the first one of an evaluation."""
        return next(iter(self.evaluations[-1][1]))

    @property
    def split(self) -> str:
        """The evaluation split."""
        if self.evaluation:
            return self.evaluation.split
        return "validation" if self.recipe["data"].get("validation") else "test"


def whole_epoch(line: Line) -> float:
    """A line's epoch; the end of an epoch is whole, though its last step, of whole batches, ends before or after it."""
    nearest = round(line.epoch)
    step = line.epoch / line.step if line.step else 0.0
    return float(nearest) if abs(line.epoch - nearest) < min(step, 0.5) else line.epoch


class Group(Model):
    """A group of W&B runs."""

    entity: Text = ""
    project: Text = ""
    group: Text = ""


class SearchSettings(Model):
    """What reports read of search.json."""

    metric: Text
    mode: Literal["min", "max"]
    wandb: Group = Group()


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """One search directory, read."""

    path: Path
    name: str
    settings: SearchSettings
    trials: list[dict[str, str]]  # rows of trials.csv
    fields: list[str] = field(default_factory=list)  # dotted names that the trials override


@dataclass(kw_only=True)
class Collected:
    """The content of all sources, each directory once."""

    runs: dict[Path, RunRecord] = field(default_factory=dict)
    searches: dict[Path, SearchRecord] = field(default_factory=dict)
    studies: dict[Path, Study] = field(default_factory=dict)
    left_out: dict[Path, str] = field(default_factory=dict)  # directories that can't be read → one line with the reason

    def read(self, root: Path, source: str) -> None:
        """Add everything at or below a folder; raises UserError if it is not one. source: its name in messages."""
        if not root.is_dir():
            raise UserError(
                f"{one_line(source)} is not a directory: give a run directory, a folder of runs, or "
                "wandb:ENTITY/PROJECT"
            )
        for path in _find(root):
            try:
                self._take(path, "" if path == root else str(path.relative_to(root)))
            except UserError as error:
                self.left_out[path.resolve()] = str(error)

    def _take(self, path: Path, name: str) -> None:
        key = path.resolve()
        if (path / STUDY).exists():
            self.studies[key] = read_study(Folder(path))
        elif (path / "search.json").exists():
            self.searches[key] = read_search(path)
        else:
            self.runs[key] = read_run(path, name)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Context without garbage collection, which takes four fifths of the time: the data has no reference cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@without_collector()
def collect(sources: list[str]) -> Collected:
    """Every run, search and study of the sources, runs sorted by name.

    Damaged ones are skipped with the reason. Raises UserError if nothing is left.
    """
    collected = Collected()
    for source in sources:
        if source.startswith("wandb:"):
            from raykd.track.download import download

            with temporary_folder() as folder:
                collected.read(download(source.removeprefix("wandb:"), Path(folder)), source)
        else:
            collected.read(Path(source).expanduser(), source)
    if not collected.runs and not collected.searches:
        if collected.left_out:
            raise UserError(f"no run can be read: {'; '.join(list(collected.left_out.values())[:3])}")
        places = one_line(", ".join(sources))
        raise UserError(f"no run in {places}: give run directories, or folders of them (with recipe.json in each)")
    collected.runs = dict(sorted(collected.runs.items(), key=lambda item: (item[1].name, item[0])))
    return collected


def _find(root: Path) -> Iterator[Path]:
    """Run, search and study directories at or below a folder, each once, even if linked several times.

    A search's trials belong to it and are no runs of their own; a study's cells are. Unreadable folders are skipped.
    """
    seen: set[str] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        path, names = os.path.realpath(folder), {*below, *files}
        is_new, is_run = path not in seen, names & {"recipe.json", "search.json"}
        seen.add(path)
        if is_new and (is_run or STUDY in names):
            yield Path(folder)
        if is_run or not is_new:
            below.clear()
        elif os.path.exists(f"{folder}/files/recipe.json"):  # W&B's own folder of an offline run
            below[:] = ["files"]
        below[:] = sorted(name for name in below if name not in NO_RUNS and not name.startswith("."))


def read_run(path: Path, name: str = "") -> RunRecord:
    """One run directory. name: used if there is no result.json.

    Raises UserError naming an invalid file.
    """
    folder = Folder(path)
    recipe, result = in_texts(one_line, read_recipe(folder)), read_result(folder)
    record = RunRecord(
        path=path,
        name=(result.name if result else "") or one_line(name or path.name),
        labels=labels(recipe),
        recipe=recipe,
        result=result,
        lines=read_metrics(folder),
        evaluation=read_evaluation(folder),
        deployment=read_deployment(folder),
    )
    if record.status == "finished":
        _check_finished(record)
    return record


def _check_finished(record: RunRecord) -> None:
    """Raise UserError if a finished run's files are inconsistent."""
    if not record.evaluations:
        raise UserError(
            f"{record.path}/metrics.jsonl has no evaluation, but the run is finished: restore it from a copy"
        )
    for epoch, networks in record.evaluations:
        if record.deployed not in networks:
            raise UserError(f"{record.path}/metrics.jsonl: the evaluation at epoch {epoch:g} lacks {record.deployed}")


def read_search(path: Path) -> SearchRecord:
    """One search directory; raises UserError naming an invalid file."""
    settings = read_checked(Folder(path), "search.json", SearchSettings)
    table = path / "trials.csv"
    if not table.exists():
        return SearchRecord(path=path, name=one_line(path.name), settings=settings, trials=[])
    columns, rows = read_csv(table, SMALL)
    if columns[:5] != ["trial", "state", "metric", "seconds", "reason"] or len(set(columns)) < len(columns):
        raise UserError(f"{table} does not begin with the columns trial,state,metric,seconds,reason")
    trials = list(rows.values())
    return SearchRecord(path=path, name=one_line(path.name), settings=settings, trials=trials, fields=columns[5:])

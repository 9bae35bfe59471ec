"""Reading run directories, searches and W&B projects into plain values; nothing is averaged here."""

import csv
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.recipe.labels import Labels, labels

STATUSES = ("finished", "failed", "stopped", "running")


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run directory, read."""

    path: Path
    name: str
    labels: Labels
    recipe: dict[str, Any]
    status: str  # of result.json, "unfinished" where there is none
    result: dict[str, Any]
    lines: list[dict[str, Any]]  # of metrics.jsonl
    evaluation: dict[str, Any]  # evaluation.json, {} where there is none

    @property
    def evaluations(self) -> list[tuple[float, dict[str, Any]]]:
        """(epoch, networks) of the epochs that evaluate."""
        return [(line["epoch"], line["evaluation"]) for line in self.lines if line.get("evaluation")]

    @property
    def deployed(self) -> str:
        """The deployed network: the first that an evaluation names."""
        return next(iter(self.evaluations[-1][1]))

    @property
    def split(self) -> str:
        """What was evaluated on."""
        if self.evaluation:
            return self.evaluation["split"]
        return "validation" if self.recipe["data"].get("validation") else "test"


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """One search directory, read."""

    path: Path
    name: str
    settings: dict[str, Any]  # search.json
    trials: list[dict[str, str]]  # rows of trials.csv
    fields: list[str] = field(default_factory=list)  # dotted names that the trials override


def collect(sources: list[str]) -> tuple[list[RunRecord], list[SearchRecord]]:
    """Every run and search that the sources name, each once, in the order of their names.

    Raises UserError naming the file that is missing, broken or not raykd's.
    """
    runs: dict[Path, RunRecord] = {}
    searches: dict[Path, SearchRecord] = {}
    for source in sources:
        if source.startswith("wandb:"):
            from raykd.track.download import download

            with tempfile.TemporaryDirectory(prefix="raykd-report-") as folder:
                _read(download(source.removeprefix("wandb:"), Path(folder)), source, runs, searches)
        else:
            _read(Path(source).expanduser(), source, runs, searches)
    if not runs and not searches:
        raise UserError(
            f"no run in {', '.join(sources)}: give run directories, or folders of them (with recipe.json in each)"
        )
    return sorted(runs.values(), key=lambda run: (run.name, run.path)), list(searches.values())


def _read(root: Path, source: str, runs: dict[Path, RunRecord], searches: dict[Path, SearchRecord]) -> None:
    for path in _find(root, source):
        if (path / "search.json").exists():
            searches[path.resolve()] = read_search(path)
        else:
            runs[path.resolve()] = read_run(path, "" if path == root else str(path.relative_to(root)))


def _find(root: Path, source: str) -> list[Path]:
    """Run and search directories at or below a place; a search's trials belong to it and are no runs of their own."""
    if not root.is_dir():
        raise UserError(f"{source} is not a directory: give a run directory, a folder of runs, or wandb:ENTITY/PROJECT")
    if (root / "files" / "recipe.json").exists():  # W&B's own folder of an offline run
        return [root / "files"]
    if (root / "recipe.json").exists() or (root / "search.json").exists():
        return [root]
    found: list[Path] = []
    for child in sorted(root.iterdir()):
        if child.is_dir() and child.name not in ("checkpoints", "wandb") and not child.name.startswith("."):
            found += _find(child, source)
    return found


def read_run(path: Path, name: str = "") -> RunRecord:
    """One run directory, called `name` where no result.json says how.

    Raises UserError naming the file that is not what raykd writes.
    """
    recipe = _json(path / "recipe.json")
    try:
        about, _ = labels(recipe), float(recipe["epochs"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path / 'recipe.json'} is not a raykd recipe (no {error}): leave this directory out"
        ) from None
    result = _json(path / "result.json") if (path / "result.json").exists() else {}
    status = result.get("status") if result else "unfinished"
    if result and (status not in STATUSES or not {"name", "seconds", "workers"} <= result.keys()):
        raise UserError(f"{path / 'result.json'} is not a raykd result (status {status!r}): remove it or restore it")
    lines = _lines(path / "metrics.jsonl")
    if status == "finished" and not any(line.get("evaluation") for line in lines):
        raise UserError(
            f"{path / 'metrics.jsonl'} has no evaluation, though the run is finished: restore it from a copy"
        )
    evaluation = _json(path / "evaluation.json") if (path / "evaluation.json").exists() else {}
    return RunRecord(
        path=path,
        name=result.get("name") or name or path.name,
        labels=about,
        recipe=recipe,
        status=status,
        result=result,
        lines=lines,
        evaluation=evaluation,
    )


def read_search(path: Path) -> SearchRecord:
    """One search directory; raises UserError naming the file that is not what raykd writes."""
    settings = _json(path / "search.json")
    if not isinstance(settings, dict) or not {"metric", "mode"} <= settings.keys():
        raise UserError(f"{path / 'search.json'} is not a raykd search (no metric and mode): leave this directory out")
    table = path / "trials.csv"
    if not table.exists():
        return SearchRecord(path=path, name=path.name, settings=settings, trials=[])
    with open(table, newline="") as file:
        reader = csv.DictReader(file)
        trials, columns = list(reader), list(reader.fieldnames or [])
    if columns[:5] != ["trial", "state", "metric", "seconds", "reason"]:
        raise UserError(
            f"{table} does not begin with the columns trial,state,metric,seconds,reason: restore it from a copy"
        )
    return SearchRecord(path=path, name=path.name, settings=settings, trials=trials, fields=columns[5:])


def _json(path: Path) -> Any:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"can't read {path} ({error}): remove the run or restore the file from a copy") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no JSON object: remove the run or restore the file from a copy")
    return content


def _lines(path: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl, later ones replacing earlier ones of the same epoch; a torn last line is left out."""
    if not path.exists():
        return []
    texts = path.read_text(errors="replace").splitlines()
    lines: dict[float, dict[str, Any]] = {}
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
            lines[line["epoch"]] = line
        except (ValueError, TypeError, KeyError):
            if number == len(texts):
                break  # the process died while it wrote
            raise UserError(f"{path}, line {number}, is not a line of metrics: restore the file from a copy") from None
    return [lines[epoch] for epoch in sorted(lines)]

"""Makes the comparison as numbers: the rows of every section, and a table for each study or for all sections."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from raykd.reports.collect import Collected, RunRecord, collect
from raykd.reports.compare import Baseline, Repeat, Row, check_baseline, compare_rows, find_baseline, new_row
from raykd.reports.measures import Entry, by_section, entries
from raykd.reports.table import Missing, Table
from raykd.reports.tables.published import Quoted
from raykd.reports.tables.study import Study, StudyCell
from raykd.reports.trials import Trials, read_trials

BASELINE = "Supervised"
TRAINED = "teachers/"  # begins the names of teachers that raykd trains for other runs


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of every output format."""

    title: str
    made: str
    baseline: str
    entries: list[Entry]
    tables: list[Table]  # with several columns: for each study, and for the other runs if they have several sections
    open_runs: list[RunRecord]  # not finished: listed, never averaged
    searches: list[Trials]
    left_out: list[str] = field(default_factory=list)  # directories that can't be read, one line each
    studies: list[str] = field(default_factory=list)  # names of the studies among the sources

    @property
    def repeats(self) -> list[Repeat]:
        """Runs that repeat another one's recipe and seed, and count once."""
        return [repeat for item in self.entries for repeat in item.row.repeats]

    @property
    def summary(self) -> str:
        """Its content in one line."""
        runs = sum(len(item.row.runs) for item in self.entries)
        parts = [f"{_counted(len(self.entries), 'row')} of {_counted(runs, 'run')}"] if self.entries else []
        parts += [f"search {search.record.name}" for search in self.searches]
        parts += [f"{len(self.repeats)} repeated"] if self.repeats else []
        parts += [f"{len(self.open_runs)} not finished"] if self.open_runs else []
        parts += [f"{len(self.left_out)} left out"] if self.left_out else []
        return ", ".join(parts)

    @property
    def sections(self) -> dict[str, list[Entry]]:
        return by_section(self.entries)


def make(sources: list[str], baseline: str = "") -> Report:
    """The comparison of all runs of the sources."""
    collected = collect(sources)
    placed = {place for folder, study in collected.studies.items() for place in _places(folder, study)}
    rows = compare_rows(_compared(collected, placed))
    if baseline:
        check_baseline(rows, baseline)
    others = entries(rows, lambda section, row: find_baseline(section, row, baseline or BASELINE))
    studies = [study_table(folder, study, collected.runs) for folder, study in collected.studies.items()]
    return Report(
        title=_title(rows, collected),
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        baseline=baseline or next((s.baseline for s in collected.studies.values() if s.baseline), BASELINE),
        entries=[item for table in studies for item in table.items] + others,
        tables=studies + ([table_of_sections(others)] if len(by_section(rows)) > 1 else []),
        open_runs=[run for run in collected.runs.values() if run.status != "finished"],
        searches=[read_trials(record) for record in collected.searches.values()],
        left_out=list(collected.left_out.values()),
        studies=[study.name for study in collected.studies.values()],
    )


def _compared(collected: Collected, placed: set[Path]) -> list[RunRecord]:
    """The runs outside studies; trained teachers are lines of the others' tables, and rows only if alone."""
    teachers = {path for path, run in collected.runs.items() if run.name.startswith(TRAINED)}
    left_out = placed | teachers if collected.runs.keys() - teachers else placed
    return [run for path, run in collected.runs.items() if path not in left_out]


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _title(rows: list[Row], collected: Collected) -> str:
    if collected.studies:
        return f"Study {', '.join(study.name for study in collected.studies.values())}"
    data = list(dict.fromkeys(row.runs[0].labels.data for row in rows))
    if data:
        return f"Distillation on {', '.join(data[:3])}{' …' if len(data) > 3 else ''}"
    names = [search.name for search in collected.searches.values()]
    return f"Search {', '.join(names)}" if names else "Distillation: no run has finished"


def table_of_sections(items: list[Entry]) -> Table:
    """Runs of several students or data sets as one table, with a column for each section."""
    return Table(
        items=items,
        rows=list(dict.fromkeys(item.label for item in items)),
        columns=list(dict.fromkeys(item.section for item in items)),
        title="All together",
        baseline=next((item.baseline.row.label for item in items if item.baseline.row), ""),
        published=[figure for item in items for figure in quoted(item)],
    )


def quoted(item: Entry) -> list[Quoted]:
    """The top-1 figures that a recipe quotes."""
    return [
        Quoted(row=item.label, column=item.section, value=float(p["value"]), source=str(p.get("source", "")))
        for p in item.published
        if p.get("metric") == "top1" and isinstance(p.get("value"), (int, float)) and 0 <= p["value"] <= 1
    ]


def study_table(folder: Path, study: Study, runs: dict[Path, RunRecord]) -> Table:
    """A study's table, by the study's own names and in its order."""
    finished: dict[tuple[str, str], list[RunRecord]] = {}
    missing = []
    for path, cell in _places(folder, study).items():
        run = runs.get(path)
        if run is not None and run.status == "finished":
            finished.setdefault((cell.row, cell.column), []).append(run)
        else:
            missing.append(_missing(cell, run))
    rows = [
        new_row(column, row, "", finished[row, column])
        for column in study.columns
        for row in study.rows
        if (row, column) in finished
    ]
    return Table(
        items=entries(rows, lambda section, row: _named(section, row, study.baseline)),
        rows=study.rows,
        columns=study.columns,
        title=study.name,
        baseline=study.baseline,
        published=study.published,
        missing=missing,
    )


def _missing(cell: StudyCell, run: RunRecord | None) -> Missing:
    status: str = cell.status
    reason = cell.reason
    if status == "finished":  # according to the study, but its run is not
        status, reason = (run.status, "") if run else ("lost", "no run that can be read")
    return Missing(row=cell.row, column=cell.column, seed=cell.seed, status=status, reason=reason)


def _places(folder: Path, study: Study) -> dict[Path, StudyCell]:
    """A study's cells by the directories of their runs."""
    return {(folder / cell.run).resolve(): cell for cell in study.cells}


def _named(section: list[Row], row: Row, baseline: str) -> Baseline:
    """The baseline that a study names, even if its runs have another length: the study's author chose it."""
    return Baseline(row=next((r for r in section if r.method == baseline and r is not row), None))

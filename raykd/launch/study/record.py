"""study.json, which a report reads: every run of the study that was ever requested."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from raykd import UserError
from raykd.launch.study.plan import CellRun
from raykd.output import masked
from raykd.recipe.study import Study
from raykd.recipe.study.cells import cells
from raykd.reports.tables.published import Quoted
from raykd.reports.tables.study import FILE, Status, StudyCell, read_study
from raykd.reports.tables.study import Study as Table
from raykd.storage.folder import Folder

SECONDS = 2.0  # minimum interval between two writes
LONGEST = 1000  # maximum length of a reason


@dataclass
class Record:
    """The states of a study's runs, written whenever they change."""

    folder: Folder
    name: str
    study: Study
    published: list[Quoted]
    cells: dict[str, StudyCell] = field(default_factory=dict)  # by their directories relative to the study's
    _written: float = 0.0

    def begin(self, runs: Iterable[CellRun]) -> None:
        """Add runs to those of earlier starts, whose states are kept."""
        self.cells = self._earlier()
        for run in runs:
            self.cells[run.path] = StudyCell(
                row=run.cell.row.name, column=run.cell.column.name, seed=run.seed, run=run.path
            )
        self.folder.create()
        self.write()

    def note(self, path: str, status: Status, reason: str = "") -> None:
        cell = self.cells[path]
        self.cells[path] = cell.model_copy(update={"status": status, "reason": masked(reason)[:LONGEST]})
        if time.monotonic() - self._written > SECONDS:
            self.write()

    def write(self) -> None:
        """Write the rows and columns that have a run, in the study's order."""
        rows = [row.name for row in self.study.rows if any(cell.row == row.name for cell in self.cells.values())]
        columns = [c.name for c in self.study.columns if any(cell.column == c.name for cell in self.cells.values())]
        table = Table(
            name=self.name,
            rows=rows,
            columns=columns,
            baseline=self.study.baseline if self.study.baseline in rows else "",
            cells=list(self.cells.values()),
            published=[figure for figure in self.published if figure.row in rows and figure.column in columns],
        )
        self.folder.write(FILE, table.model_dump_json(indent=1))
        self._written = time.monotonic()

    def _earlier(self) -> dict[str, StudyCell]:
        """Runs of earlier starts whose cells the study still has."""
        if not self.folder.exists(FILE):
            return {}
        try:
            stored = read_study(self.folder)
        except UserError:  # the run directories hold all that is needed
            return {}
        there = {(cell.row.name, cell.column.name) for cell in cells(self.study)}
        return {cell.run: cell for cell in stored.cells if (cell.row, cell.column) in there}

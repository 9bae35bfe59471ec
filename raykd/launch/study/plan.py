"""The plan of a study: the runs that it needs, validated before anything starts, and which of them are finished."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from raykd import UserError
from raykd.launch.cluster.capacity import with_fixed_workers
from raykd.launch.driver.validate import check as check_recipe
from raykd.launch.driver.validate import check_name
from raykd.launch.search.setup import setup_of
from raykd.launch.study.published import published
from raykd.launch.teachers.train import can_be_a_trial
from raykd.launch.trials.trial import OUTCOME
from raykd.recipe import Recipe
from raykd.recipe.study.cells import Cell
from raykd.recipe.study.load import LoadedStudy
from raykd.reports.tables.published import Quoted
from raykd.runs import directory
from raykd.runs.results.read import read_result
from raykd.storage.folder import Folder

SEARCHES = "searches"  # the folder of the searches of tuned rows


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """The part of a study to run now, and where its runs are stored.

    Raises UserError for a cell that can't be run, and for published figures that can't be read.
    """

    loaded: LoadedStudy
    cells: list[Cell]  # of the rows and columns to run now
    seeds: tuple[int, ...]
    name: str
    storage: str
    max_parallel: int  # maximum number of concurrent runs; 0: as many as fit
    published: list[Quoted] = field(init=False)  # of all cells

    def __post_init__(self) -> None:
        for cell in self.cells:
            try:
                _check(cell)
                check_name(f"{self.name}/{cell.path}/{max(self.seeds)}")
            except UserError as error:
                raise UserError(f"row {cell.row.name}, column {cell.column.name}: {error}") from None
        quoted = published(self.loaded.cells, self.loaded.study.published, self.loaded.path.parent)
        object.__setattr__(self, "published", quoted)


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """One seed of a cell."""

    cell: Cell
    seed: int
    study: str  # the study's name

    @property
    def path(self) -> str:
        """Its directory relative to the study's."""
        return f"{self.cell.path}/{self.seed}"

    @property
    def name(self) -> str:
        return f"{self.study}/{self.path}"

    @property
    def recipe(self) -> Recipe:
        """The recipe that is trained: one seed, no search, a fixed number of workers."""
        return with_fixed_workers(replace(self.cell.seeded(self.seed), search=None))

    @property
    def label(self) -> str:
        """A readable name."""
        return f"{self.cell.row.name}, {self.cell.column.name}, seed {self.seed}"


def runs_of(cells: Iterable[Cell], seeds: Sequence[int], study: str) -> list[CellRun]:
    """Every run: the whole table of the first seed before the second."""
    all_cells = list(cells)
    return [CellRun(cell=cell, seed=seed, study=study) for seed in dict.fromkeys(seeds) for cell in all_cells]


def _check(cell: Cell) -> None:
    recipe = with_fixed_workers(cell.recipe)
    if cell.path.split("/")[0] == SEARCHES:
        raise UserError(f"a row can't be named {SEARCHES}, the folder of the searches: rename it")
    if not can_be_a_trial(recipe):
        raise UserError("teachers.placement: a study reserves no resources for remote teachers; use inline")
    check_recipe(recipe)
    if cell.row.tune is not None:
        setup_of(cell.recipe)


def finished(runs: Iterable[CellRun], storage: str) -> dict[str, float]:
    """Top-1 of the finished runs, by name; raises UserError for one of another recipe."""
    accuracies = {}
    for run in runs:
        folder = Folder(storage) / run.name
        if not folder.exists("recipe.json"):
            continue
        result = read_result(folder)
        if run.cell.row.tune is None and (result is not None or not folder.exists(OUTCOME)):
            # The values of a search are not known yet; a failed run of another recipe is replaced by this one.
            try:
                directory.refuse_other(folder, run.recipe)
            except UserError as error:
                raise UserError(f"{run.label}: {error}") from None
        if result is not None and result.status == "finished":
            accuracies[run.name] = result.top1
    return accuracies

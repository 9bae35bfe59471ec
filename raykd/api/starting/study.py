"""A study from Python: a table of runs, trained in parallel."""

from dataclasses import dataclass
from pathlib import Path

from raykd.api.run import Run
from raykd.api.starting.plan import default_name, display_in
from raykd.fields import NonNegativeInt, Seed
from raykd.launch.driver.run import default_storage
from raykd.launch.study.plan import StudyPlan
from raykd.launch.study.run import StudyRun
from raykd.output import masked
from raykd.recipe.study.cells import select
from raykd.recipe.study.load import load_study
from raykd.recipe.validate import checked
from raykd.storage.folder import Folder


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The result of `raykd.study`; `raykd.report(result.path)` compares its runs."""

    path: str
    """Directory of the study, a local path or a URI."""
    runs: dict[str, Run]
    """The finished runs by name, STUDY/ROW/COLUMN/SEED."""
    missing: tuple[str, ...]
    """One line for each run that is missing, with the reason."""

    def __repr__(self) -> str:
        return f"StudyResult(path={masked(self.path)!r}, runs={self.runs!r}, missing={self.missing!r})"


@checked
def study(
    study: str | Path,
    *,
    name: str = "",
    storage: str | Path = "",
    seeds: tuple[Seed, ...] = (),
    rows: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    max_parallel: NonNegativeInt = 0,
    show: bool = True,
) -> StudyResult:
    """Train the missing runs of a study, as many in parallel as fit; an existing study of the same name is resumed.

    study: the path of a study's file, or the name of one that ships with raykd (`raykd list studies`).
    name, storage, show: as of `raykd.train`.
    seeds: one run of each cell for each; (): the study's own seeds.
    rows, columns: names of those to run now; (): all.
    max_parallel: maximum number of concurrent runs; 0: as many as fit on the cluster.

    Raises UserError for an invalid study, and KeyboardInterrupt if it was stopped. A run that fails doesn't raise: it
    is listed in the result's `missing`.
    """
    loaded = load_study(study)
    plan = StudyPlan(
        loaded=loaded,
        cells=select(loaded.cells, loaded.study, rows=rows, columns=columns),
        seeds=seeds or loaded.study.seeds,
        name=name or default_name(loaded.path),
        storage=str(storage) or default_storage(),
        max_parallel=max_parallel,
    )
    study_run = StudyRun(plan, display_in(plan.storage, show))
    missing = study_run.run()
    runs = {run: Run(path=(Folder(plan.storage) / run).location) for run in study_run.finished}
    return StudyResult(path=study_run.folder.location, runs=runs, missing=tuple(missing))

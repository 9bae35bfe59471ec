"""raykd study: trains a table of runs in parallel; the same command resumes it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import MinLen

from raykd import UserError
from raykd.api.starting.plan import default_name, display_in
from raykd.fields import NonNegativeInt, Seed
from raykd.launch.driver.run import default_storage
from raykd.recipe.command_line import parse
from raykd.recipe.study.cells import select
from raykd.recipe.study.load import load_study
from raykd.recipe.study.overrides import overridden, split

if TYPE_CHECKING:
    from raykd.launch.study.plan import StudyPlan

ABOUT = """{docstring}

Besides the options below, every field of a recipe can be overridden, as for `raykd train`: in all cells
(--epochs 3) or, after all other options, in the cells of one row or column (--row KD --method.temperature 2)."""


@dataclass(frozen=True)
class Options:
    name: str
    """Name of the study; an existing study of that name is resumed, without repeating finished runs."""
    storage: str
    """Folder or URI (s3://, gs://, …) of the runs."""
    seeds: Annotated[tuple[Seed, ...], MinLen(1)]
    """Seeds; each cell has one run for each."""
    rows: tuple[str, ...] = ()
    """Rows to run now; none: all."""
    columns: tuple[str, ...] = ()
    """Columns to run now; none: all."""
    max_parallel: NonNegativeInt = 0
    """Maximum number of concurrent runs; 0: as many as fit on the cluster."""
    dry_run: bool = False
    """Train nothing: print what is finished, what would be trained, and the estimated cost."""


def run(arguments: Sequence[str]) -> int:
    """Run a study; returns the exit status: 1 if a run is missing at its end."""
    plan, dry = choose(arguments)
    display = display_in(plan.storage)
    if dry:
        from raykd.launch.study.estimate import dry_run

        dry_run(plan, display.console)
        return 0
    from raykd.launch.study.run import StudyRun

    study = StudyRun(plan, display)
    missing = study.run()
    for line in missing:
        display.console.print(f"missing: {line}", style="red")
    report = f"to compare them: raykd report {study.folder.location}"
    display.console.print(f"{len(study.finished)} of {len(study.runs)} runs are finished; {report}")
    return 1 if missing else 0


def choose(arguments: Sequence[str], command: str = "study") -> tuple["StudyPlan", bool]:
    """What the arguments request, checked before anything starts, and whether it is only to be estimated."""
    from raykd.launch.study.plan import StudyPlan

    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"raykd {command} needs a study: raykd study recipes/studies/digits.py [--seeds 0 1 2]")
    loaded = load_study(arguments[0])
    default = Options(default_name(loaded.path), default_storage(), loaded.study.seeds)
    own = {f"--{field.name}".replace("_", "-") for field in dataclasses.fields(Options)}
    words, overrides = split(arguments[1:], own | {"--no-dry-run", "--help"})
    program, about = f"raykd {command} {arguments[0]}", ABOUT.format(docstring=loaded.docstring.strip())
    options = parse(Options, default, words, program, about)
    cells = overridden(loaded.cells, loaded.study, overrides)
    plan = StudyPlan(
        loaded=loaded,
        cells=select(cells, loaded.study, rows=options.rows, columns=options.columns),
        seeds=options.seeds,
        name=options.name,
        storage=options.storage,
        max_parallel=options.max_parallel,
    )
    return plan, options.dry_run

"""raykd study: trains a table of runs in parallel; the same command resumes it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from raykd import UserError
from raykd.api.starting.start import default_name
from raykd.fields import NonNegativeInt, Seed
from raykd.launch.driver import run as driver
from raykd.launch.driver.display import Display
from raykd.launch.driver.run import default_storage
from raykd.recipe.command_line import parse
from raykd.recipe.study.cells import Cell, select
from raykd.recipe.study.load import LoadedStudy, load_study
from raykd.recipe.study.overrides import overridden, split
from raykd.reports.tables.study import Quoted
from raykd.terminal import Terminal

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


@dataclass(frozen=True)
class Chosen:
    """A study with the options of the command line."""

    loaded: LoadedStudy
    cells: list[Cell]  # cells of the rows and columns to run now
    options: Options
    published: list[Quoted]


def run(arguments: Sequence[str]) -> int:
    """Run a study; returns the exit status: 1 if a run is missing at its end."""
    chosen = choose(arguments)
    from raykd.launch.study.run import StudyRun

    options, display = chosen.options, Display(Terminal())
    driver.lasting(options.storage)
    driver.print_storage(options.storage, display)
    if options.dry_run:
        from raykd.launch.study.estimate import dry_run

        dry_run(chosen.cells, options.seeds, options.name, options.storage, display.console)
        return 0
    study = StudyRun(
        chosen.loaded,
        chosen.cells,
        options.seeds,
        options.name,
        options.storage,
        options.max_parallel,
        chosen.published,
        display,
    )
    missing = study.run()
    for line in missing:
        display.console.print(f"missing: {line}", style="red")
    report = f"to compare them: raykd report {study.folder.location}"
    display.console.print(f"{len(study.finished)} of {len(study.runs)} runs are finished; {report}")
    return 1 if missing else 0


def choose(arguments: Sequence[str], command: str = "study") -> Chosen:
    """Read and check a study's file and the options, before anything starts."""
    from raykd.launch.study.plan import check
    from raykd.launch.study.published import published

    if not arguments or arguments[0].startswith("-"):
        raise UserError(f"raykd {command} needs a study: raykd study recipes/studies/digits.py [--seeds 0 1 2]")
    loaded = load_study(arguments[0])
    default = Options(default_name(loaded.path), default_storage(), loaded.study.seeds)
    own = {f"--{field.name}".replace("_", "-") for field in dataclasses.fields(Options)}
    words, overrides = split(arguments[1:], own | {"--no-dry-run", "--help"})
    program, about = f"raykd {command} {arguments[0]}", ABOUT.format(docstring=loaded.docstring.strip())
    options = parse(Options, default, words, program, about)
    cells = overridden(loaded.cells, loaded.study, overrides)
    cells = select(cells, loaded.study, rows=options.rows, columns=options.columns)
    check(cells, options.seeds, options.name)
    quoted = published(loaded.cells, loaded.study.published, loaded.path.parent)
    return Chosen(loaded, cells, options, quoted)

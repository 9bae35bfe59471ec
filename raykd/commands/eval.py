"""raykd eval: every network of a run, again, on its evaluation split."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import tyro
from rich.table import Table

from raykd import UserError
from raykd.fields import NonNegativeInt
from raykd.recipe.load import materialize, parse
from raykd.storage.atomic import scratch
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    run: Annotated[str, tyro.conf.Positional]
    """Run directory."""
    threads: NonNegativeInt = 0
    """CPU threads; 0: torch's own choice."""
    batch_size: NonNegativeInt = 0
    """Images at once; 0: the recipe's batch."""
    trust_source: bool = False
    """Run the recipe's source that the run directory holds, where its method isn't installed here."""


def run(arguments: Sequence[str]) -> int:
    """Print a table of the networks' accuracy; returns the exit status."""
    default = Options(run=tyro.MISSING)
    chosen = parse(Options, default, arguments, "raykd eval", "Evaluate every network of a run on its test split.")
    names, rows = evaluate_run(chosen)
    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Terminal().print(table)
    return 0


def evaluate_run(chosen: Options) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Column titles and rows of the figures of a run's networks, from its newest checkpoint that reads."""
    import torch

    from raykd.data.loader import TestLoader
    from raykd.data.storage.prepare import normalised, prepare
    from raykd.runs.checkpoint import newest
    from raykd.teachers.load import load_teachers
    from raykd.teachers.precision import autocast
    from raykd.train.evaluate import evaluate
    from raykd.train.nonfinite import NotFiniteError
    from raykd.train.setup import build_distiller
    from raykd.train.state import new_state

    folder, recipe = open_finished(chosen.run, chosen.trust_source)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prepared = prepare(recipe.data)
    recipe = replace(recipe, data=normalised(recipe.data, prepared))
    classes = len(prepared.classes)
    teachers = load_teachers(
        recipe.teachers, recipe.data, prepared.classes, trained_teachers(folder), recipe.method.compares_classes
    )
    state = new_state(recipe, build_distiller(recipe, teachers, classes, recipe.seed), device)
    found = newest(folder, lambda line: Terminal(stderr=True).print(f"warning: {line}"))
    if found is None:
        raise UserError(f"{folder} has no checkpoint to evaluate")
    state.restore(found[0])
    size = chosen.batch_size or recipe.batch_size
    data = TestLoader(
        recipe.data, prepared, batch_size=size, rank=0, world=1, device=device, threads=torch.get_num_threads()
    )
    distiller = state.evaluated.eval()
    try:
        figures, measures = evaluate(distiller.predict, data.batches(), autocast(recipe, device), {}, distiller.measure)
    except NotFiniteError as error:
        raise UserError(f"{folder.place}: {error}") from None
    data.close()
    rows = [
        (n, f"{100 * f.top1:.2f} %", f"{100 * f.top5:.2f} %", f"{f.loss:.4f}", f"{f.ece:.4f}")
        for n, f in figures.items()
    ]
    rows += [(name, f"{value:.4f}", "", "", "") for name, value in measures.items()]
    return ("network", "top-1", "top-5", "loss", "calibration error"), rows


def open_finished(place: str, trust_source: bool = False):
    """Folder and recipe of a run directory; raises UserError where it is none."""
    from raykd.runs.recipe import recipe_of
    from raykd.storage.folder import Folder

    folder = Folder(place)
    if not folder.exists("recipe.json"):
        raise UserError(f"{folder} is no run directory: it has no recipe.json")
    if trust_source and folder.exists("source"):
        materialize(sources_of(folder), scratch())
    return folder, recipe_of(folder, trusted=trust_source)


def sources_of(folder, below: str = "source") -> dict[str, str]:
    """The recipe's source files in a run directory, by path below `source`."""
    found = {}
    for name in folder.names(below):
        path = f"{below}/{name}"
        if name.endswith(".py"):
            found[path.removeprefix("source/")] = importlib.util.decode_source(folder.read(path))
        else:
            found |= sources_of(folder, path)
    return found


def trained_teachers(folder) -> list[str]:
    """Run directories of the teachers that a run's recipe had trained first."""
    from raykd.recipe import Train
    from raykd.runs.recipe import recipe_of

    count = sum(len(s.seeds) for s in recipe_of(folder).teachers.sources if isinstance(s, Train))
    if not count:
        return []
    return folder.read_json("teachers.json")

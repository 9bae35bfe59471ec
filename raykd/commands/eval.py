"""raykd eval: every network of a run, again, on its evaluation split."""

import importlib.util
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Annotated

import tyro
from rich.table import Table

from raykd import UserError
from raykd.data.config import Data
from raykd.fields import NonNegativeInt
from raykd.recipe.load import parse
from raykd.recipe.sources import materialize
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
    test: bool = False
    """The test split, also where the run's own evaluations are on a part held out of the training split."""
    trust_source: bool = False
    """Run the recipe's source that the run directory holds, where its method isn't installed here."""
    data_root: Annotated[str, tyro.conf.arg(name="data.root")] = Data.root
    """Folder of the .beton files and downloads. The run's own is not used: it may be somebody else's."""


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

    from raykd.runs.checkpoint import newest
    from raykd.runs.directory import other_data, trained_teachers
    from raykd.training.evaluation.evaluate import evaluate
    from raykd.training.process import use_cpus
    from raykd.training.setup import Experiment, Placement
    from raykd.training.update.nonfinite import NotFiniteError

    folder, recipe = open_finished(chosen.run, chosen.trust_source)
    if chosen.threads:
        use_cpus(chosen.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = replace(recipe.data, root=chosen.data_root, shared="")
    recipe = replace(recipe, batch_size=chosen.batch_size or recipe.batch_size, data=data)
    if chosen.test:
        recipe = replace(recipe, data=replace(data, validation=0.0))
    with closing(Experiment(recipe, Placement(device, torch.get_num_threads()), trained_teachers(folder))) as opened:
        changed = other_data(folder, opened.prepared)
        if changed:
            raise UserError(f"{changed}: bring the data back to evaluate it")
        state = opened.new_state()
        found = newest(folder, lambda line: Terminal(stderr=True).print(f"warning: {line}"))
        if found is None:
            raise UserError(f"{folder} has no checkpoint to evaluate")
        state.restore(found[0])
        distiller, batches = state.evaluated.eval(), opened.test_data.batches()
        try:
            figures, measures = evaluate(
                distiller.predict, batches, opened.autocast, {}, distiller.measure, recipe.metrics
            )
        except NotFiniteError as error:
            raise UserError(f"{folder}: {error}") from None
    rows = [
        (n, f"{100 * f.top1:.2f} %", f"{100 * f.top5:.2f} %", f"{f.loss:.4f}", f"{f.ece:.4f}")
        + tuple(format(f.means[metric.name], metric.format) for metric in recipe.metrics)
        for n, f in figures.items()
    ]
    own = tuple(metric.name for metric in recipe.metrics)
    rows += [(name, f"{value:.4f}", "", "", "", *("" for _ in own)) for name, value in measures.items()]
    return ("network", "top-1", "top-5", "loss", "calibration error", *own), rows


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

"""Evaluation of a run's networks from Python, and for `raykd eval`."""

from dataclasses import dataclass, replace
from pathlib import Path

from raykd import UserError
from raykd.api.run import Run, open_local
from raykd.data.config import Data
from raykd.fields import NonNegativeInt, Threads
from raykd.recipe import Recipe
from raykd.recipe.validate import checked
from raykd.storage.folder import Folder
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Evaluated:
    """The result of `raykd.evaluate`."""

    networks: dict[str, dict[str, float]]
    """Metrics of each network by name, the deployed one first: top1 and top5 as fractions, loss in nats, ece (expected
    calibration error) as a fraction, and the recipe's own metrics."""
    measures: dict[str, float]
    """Further metrics of the method, such as the diversity of its branches."""
    recipe: Recipe
    """The run's recipe with the changes of this evaluation."""


@checked
def evaluate(
    run: Run | str | Path,
    *,
    threads: Threads = 0,
    batch_size: NonNegativeInt = 0,
    test: bool = False,
    trust_source: bool = False,
    data_root: str | Path = Data.root,
) -> Evaluated:
    """Evaluate every network of a run, from its newest readable checkpoint, on the split of the run's evaluations.

    run: a `Run`, or its directory (a path or a URI).
    threads: CPU threads; 0: torch's default.
    batch_size: images at once; 0: the recipe's batch size.
    test: use the test split, even if the run's own evaluations are on a held-out part of the training split.
    trust_source: import the user's modules that are stored in the run's directory, which runs their code.
    data_root: folder of the .beton files and downloads. The recipe's own is not used: the run may be someone else's.

    Raises UserError if there is no run or no checkpoint, or if the data are missing or differ from the run's.
    """
    folder, recipe = open_local(run, trust_source, data_root)
    recipe = replace(recipe, batch_size=batch_size or recipe.batch_size)
    if test:
        recipe = replace(recipe, data=replace(recipe.data, validation=0.0))
    return _evaluated(folder, recipe, threads)


def _evaluated(folder: Folder, recipe: Recipe, threads: int) -> Evaluated:
    import torch

    from raykd.contract import Placement
    from raykd.runs.data import other_data
    from raykd.runs.directory import trained_teachers
    from raykd.training.evaluation.newest import evaluate_newest
    from raykd.training.process import use_cpus
    from raykd.training.setup import Experiment

    if threads:
        use_cpus(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    opened = Experiment(recipe, Placement(device, torch.get_num_threads()), trained_teachers(folder))
    changed = other_data(folder, opened.prepared)
    if changed:
        raise UserError(f"{changed}: restore the data to evaluate it")
    return Evaluated(*evaluate_newest(opened, folder, _warn), recipe)


def _warn(line: str) -> None:
    Terminal(stderr=True).print(f"warning: {line}")

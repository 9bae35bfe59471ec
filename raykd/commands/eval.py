"""raykd eval: evaluates every network of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.table import Table

from raykd.api.evaluation import Evaluated, evaluate
from raykd.data.config import Data
from raykd.fields import NonNegativeInt, Threads
from raykd.recipe.command_line import parse
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run directory."""
    threads: Threads = 0
    """CPU threads; 0: torch's default."""
    batch_size: NonNegativeInt = 0
    """Images at once; 0: the recipe's batch size."""
    test: bool = False
    """Use the test split, even if the run's evaluations are on a held-out part of the training split."""
    trust_source: bool = False
    """Import the user's modules that are stored in the run directory, which runs their code."""
    data_root: Annotated[str, tyro.conf.arg(name="data.root")] = Data.root
    """Folder of the .beton files and downloads. The recipe's own is not used, as the run may be someone else's."""


def run(arguments: Sequence[str]) -> int:
    """Print a table of the networks' accuracy; returns the exit status."""
    default = Options(run=tyro.MISSING)
    chosen = parse(Options, default, arguments, "raykd eval", "Evaluate every network of a run on its test split.")
    Terminal().print(table(evaluate(**vars(chosen))))
    return 0


def table(evaluated: Evaluated) -> Table:
    """One row for each network and for each further metric of the method."""
    own = evaluated.recipe.metrics
    titles = ("network", "top-1", "top-5", "loss", "calibration error", *(metric.name for metric in own))
    rows = Table(*titles, box=None, pad_edge=False, header_style="bold")
    for name, each in evaluated.networks.items():
        shown = (f"{100 * each['top1']:.2f} %", f"{100 * each['top5']:.2f} %", f"{each['loss']:.4f}")
        rows.add_row(name, *shown, f"{each['ece']:.4f}", *(format(each[metric.name], metric.format) for metric in own))
    for name, value in evaluated.measures.items():
        rows.add_row(name, f"{value:.4f}")
    return rows

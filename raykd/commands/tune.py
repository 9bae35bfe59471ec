"""raykd tune: a recipe's search, or the ensemble that a recipe's teachers are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tyro
from rich.table import Table

from raykd import UserError
from raykd.commands.train import default_name
from raykd.fields import NonNegativeInt
from raykd.launch.teachers import ensemble_report, names
from raykd.recipe import Recipe
from raykd.recipe.load import Loaded, load, parse
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    name: str
    """Name of the search; the same name again goes on where it stopped and repeats no trial that is done."""
    storage: str
    """Folder or URI (s3://, gs://, …) under which runs stand."""
    samples: NonNegativeInt
    """Trials, instead of the search's own number; 0: that one. More than before: the search goes on with new ones."""
    max_concurrent: NonNegativeInt
    """Trials (or teachers) at once, instead of the recipe's own number; 0: that one."""


def run(arguments: Sequence[str]) -> int:
    """Search, or train an ensemble; returns the exit status."""
    if not arguments or arguments[0].startswith("-"):
        raise UserError("raykd tune needs a recipe: raykd tune digits/search [--field VALUE …]")
    from raykd.launch.cluster.signals import Interrupted
    from raykd.launch.driver import run as job
    from raykd.launch.driver.display import Display

    loaded = load(arguments[0])
    default = Options(loaded.recipe, default_name(loaded.path), job.default_storage(), 0, 0)
    chosen = parse(Options, default, arguments[1:], f"raykd tune {arguments[0]}", loaded.docstring)
    job.lasting(chosen.storage)
    display = Display(Terminal())
    job.say_storage(chosen.storage, display)
    try:
        return (_search if chosen.recipe.search is not None else _ensemble)(loaded, chosen, display)
    except Interrupted as stop:
        return 128 + stop.number


def _search(loaded: Loaded, chosen: Options, display: Any) -> int:
    from raykd.launch.search.search import search

    wanted = chosen.recipe.search
    samples, most = chosen.samples or wanted.samples, chosen.max_concurrent or wanted.max_concurrent
    recipe = replace(chosen.recipe, search=replace(wanted, samples=samples, max_concurrent=most))
    found = search(loaded, recipe, chosen.name, chosen.storage, display)
    console, summary, best = display.console, found.summary, found.summary["best"]
    counts = ", ".join(f"{count} {state}" for state, count in summary["states"].items())
    console.print(f"\n{counts}")
    for trial in found.table.trials.values():
        if trial.state == "failed":
            console.print(f"trial {trial.name} failed: {trial.reason}", style="red")
    console.print(f"best: trial {best}, {summary['metric']} {summary['best_metric']:.4f} on the held-out part")
    for field, value in summary["values"].items():
        console.print(f"  {field} {value}")
    console.print(f"its network on the test split: top-1 {100 * summary['test']['top1']:.2f} %")
    console.print(f"{found.place}: trials.csv, search.json, best.py")
    return 0


def _ensemble(loaded: Loaded, chosen: Options, display: Any) -> int:
    from raykd.launch.driver import run as job
    from raykd.launch.teachers import train as ensemble

    if not names.wanted(chosen.recipe):
        raise UserError(f"{loaded.path} has neither a search nor teachers to train: there is nothing to tune")
    job.check(chosen.recipe)
    most = chosen.max_concurrent or chosen.recipe.teachers.max_parallel
    recipe = replace(chosen.recipe, teachers=replace(chosen.recipe.teachers, max_parallel=most))
    places = ensemble.ensure(loaded, recipe, chosen.storage, display)
    found = ensemble_report.report(loaded, recipe, chosen.name, chosen.storage, places)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "top-1", "top-5", "loss", ""):
        table.add_column(title, overflow="fold")
    for member in found["members"]:
        table.add_row(member["name"], *_figures(member), member["path"])
    table.add_row("mean of probabilities", *_figures(found["mean"]), "")
    table.add_row("vote", f"{100 * found['vote']['top1']:.2f} %", "", "", "")
    display.console.print(table)
    return 0


def _figures(of: dict[str, Any]) -> tuple[str, str, str]:
    return f"{100 * of['top1']:.2f} %", f"{100 * of['top5']:.2f} %", f"{of['loss']:.4f}"

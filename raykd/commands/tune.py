"""raykd tune: runs a recipe's search, or trains its teachers as an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import tyro
from rich.table import Table

from raykd import UserError
from raykd.commands.train import options, plan_of
from raykd.fields import NonNegativeInt
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.teachers import ensemble_report
from raykd.launch.teachers.plan import teacher_recipes
from raykd.recipe import Recipe


@dataclass(frozen=True)
class Options:
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    name: str
    """Name of the search; an existing search of that name is resumed, without repeating completed trials."""
    storage: str
    """Folder or URI (s3://, gs://, …) of the runs."""
    samples: NonNegativeInt
    """Number of trials instead of the search's; 0: the search's. A larger number than before continues the search."""
    max_concurrent: NonNegativeInt
    """Maximum number of concurrent trials (or teachers) instead of the recipe's; 0: the recipe's."""


def run(arguments: Sequence[str]) -> int:
    """Search, or train an ensemble; returns the exit status."""
    loaded, chosen = options(arguments, "tune", Options, "digits/search", samples=0, max_concurrent=0)
    plan = plan_of(loaded, chosen)
    (_search if chosen.recipe.search is not None else _ensemble)(plan, chosen)
    return 0


def _search(plan: RunPlan, chosen: Options) -> None:
    from raykd.api.starting.tune import tune_planned

    finished = tune_planned(plan, chosen.samples, chosen.max_concurrent)
    console, summary = plan.display.console, finished.summary
    console.print("\n" + ", ".join(f"{count} {state}" for state, count in summary.states.items()))
    for trial in finished.table.trials.values():
        if trial.state == "failed":
            console.print(f"trial {trial.name} failed: {trial.reason}", style="red")
    console.print(f"best: trial {summary.best}, {summary.metric} {summary.best_metric:.4f} on the held-out part")
    for field, value in summary.values.items():
        console.print(f"  {field} {value}")
    console.print(f"its network on the test split: top-1 {100 * summary.test['top1']:.2f} %")
    console.print(f"{finished.location}: trials.csv, search.json, best.py")


def _ensemble(plan: RunPlan, chosen: Options) -> None:
    from raykd.api.starting.train import train_planned_teachers

    if not teacher_recipes(plan.recipe):
        raise UserError(f"{plan.loaded.path} has neither a search nor teachers to train: add one, or use raykd train")
    most = chosen.max_concurrent or plan.recipe.teachers.max_parallel
    plan = replace(plan, recipe=replace(plan.recipe, teachers=replace(plan.recipe.teachers, max_parallel=most)))
    paths = train_planned_teachers(plan)
    report = ensemble_report.report(plan, paths)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "top-1", "top-5", "loss", ""):
        table.add_column(title, overflow="fold")
    for member in report["members"]:
        table.add_row(member["name"], *_figures(member), member["path"])
    if "mean" in report:  # of several teachers
        table.add_row("mean of probabilities", *_figures(report["mean"]), "")
        table.add_row("vote", f"{100 * report['vote']['top1']:.2f} %", "", "", "")
    plan.display.console.print(table)


def _figures(of: dict[str, Any]) -> tuple[str, str, str]:
    return f"{100 * of['top1']:.2f} %", f"{100 * of['top5']:.2f} %", f"{of['loss']:.4f}"

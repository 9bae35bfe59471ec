"""Searches from Python."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from raykd import UserError
from raykd.api.search import SearchResult
from raykd.api.starting.plan import plan_run
from raykd.fields import NonNegativeInt
from raykd.launch.driver.run_plan import RunPlan
from raykd.recipe import Recipe
from raykd.recipe.validate import checked

if TYPE_CHECKING:
    from raykd.launch.search.search import FinishedSearch


@checked
def tune(
    recipe: Recipe | str | Path,
    *,
    name: str = "",
    storage: str | Path = "",
    samples: NonNegativeInt = 0,
    max_concurrent: NonNegativeInt = 0,
    show: bool = True,
) -> SearchResult:
    """Run or resume a recipe's search; completed trials are not repeated.

    samples: number of trials; 0: the search's own. max_concurrent: maximum number of concurrent trials; 0: the search's
    own. Other arguments and errors as of `train`; also raises UserError if the recipe has no search.
    """
    plan = plan_run(recipe, name, storage, show)
    if plan.recipe.search is None:
        raise UserError(f"{plan.name}: the recipe has no `search`: give it one, or use raykd.train")
    return SearchResult(path=tune_planned(plan, samples, max_concurrent).location)


def tune_planned(plan: RunPlan, samples: int, max_concurrent: int) -> "FinishedSearch":
    """As `tune`, for a loaded recipe."""
    from raykd.launch.search.search import search

    settings = plan.recipe.search
    if settings is not None:
        samples, most = samples or settings.samples, max_concurrent or settings.max_concurrent
        settings = replace(settings, samples=samples, max_concurrent=most)
    return search(replace(plan, recipe=replace(plan.recipe, search=settings)))

"""Validates a search before it starts."""

import itertools
import math
from dataclasses import replace
from typing import Any

from ray.tune.schedulers import HyperBandScheduler, PopulationBasedTraining

from raykd import UserError
from raykd.launch.cluster.capacity import with_fixed_workers
from raykd.launch.driver.validate import check as check_recipe
from raykd.launch.search import space
from raykd.metric import BUILT_IN
from raykd.recipe import Recipe, Search
from raykd.recipe.changes import change


def search_of(recipe: Recipe) -> Search:
    """The recipe's search; raises UserError if it has none."""
    if recipe.search is None:
        raise UserError("the recipe has no `search`: give it one, or train it with raykd train")
    return recipe.search


def base_of(recipe: Recipe) -> Recipe:
    """The recipe that all trials start from, with a validation split and a fixed number of workers.

    Raises UserError if the share of the validation split is not between 0 and 1.
    """
    share = recipe.data.validation or search_of(recipe).validation
    if not 0 < share < 1:
        raise UserError(f"search: validation is {share}; a search needs a share of the training split between 0 and 1")
    return with_fixed_workers(replace(recipe, search=None, data=replace(recipe.data, validation=share)))


def check(base: Recipe, search: Search, searched: space.Space) -> None:
    """Raise UserError for a search that can't run: unknown names, values of the wrong type, unsuitable searchers."""
    known = [*BUILT_IN, *(metric.name for metric in base.metrics)]
    if search.metric not in known:
        raise UserError(f"search: metric {search.metric!r} must be one of {', '.join(known)}")
    for field, choices in space.finite(searched).items():
        if not choices:
            raise UserError(f"search: {field} has no choices: add at least one")
    mutated = mutated_by(search)
    if not searched.fields and not mutated:
        raise UserError("search: the space is empty; name the fields to search")
    for pick in space.examples(searched, base.seed):
        try:
            trial = change(base, space.overrides(searched, pick))
            check_recipe(trial)
            _check_placement(trial)
        except UserError as error:
            raise UserError(f"search: {error}") from None
    for field in mutated:
        if field not in searched.fields:
            raise UserError(f"search: the scheduler changes {field}, which the space does not have; add it there")
        if field.startswith("optimizer.") and field not in ("optimizer.learning_rate", "optimizer.clip_norm"):
            raise UserError(f"search: {field} can't change during training: it is part of the optimizer's state")
    if search.repeats > 1 and (search.searcher is not None or swaps(search)):
        raise UserError(
            "search: repeats need random or grid search; remove the searcher and schedulers that exchange trials"
        )
    _check_algorithms(base, search, searched)


def _check_placement(trial: Recipe) -> None:
    if trial.teachers.placement != "inline":
        raise UserError("teachers.placement: trials reserve no resources for remote teachers; use inline")


def _check_algorithms(base: Recipe, search: Search, searched: space.Space) -> None:
    for part in (search.scheduler, search.searcher):
        if getattr(part, "_metric", None) is not None or getattr(part, "metric", None) is not None:
            raise UserError(f"search: remove metric and mode from {type(part).__name__}; the recipe's search has them")
    if search.searcher is not None and searched.grids:
        kind, field = type(search.searcher).__name__, next(iter(searched.grids))
        raise UserError(f"search: {field} is a grid, which {kind} doesn't support; use tune.choice")
    _check_length(base, search.scheduler)
    if not swaps(search):
        return
    kind = type(search.scheduler).__name__
    if base.workers != 1:
        raise UserError(
            f"search: {kind} pauses and moves trials of one worker only: set workers 1, or use ASHAScheduler"
        )
    if search.searcher is not None and mutated_by(search):
        raise UserError(f"search: {kind} doesn't support a searcher; remove it")
    if search.max_concurrent:
        raise UserError(f"search: {kind} pauses trials to let others run, so max_concurrent can't be set: remove it")


def _check_length(base: Recipe, scheduler: Any) -> None:
    """Raise UserError for a scheduler whose maximum time (100 by default) is shorter than every trial."""
    most = getattr(scheduler, "_max_t", getattr(scheduler, "_max_t_attr", math.inf))
    unit = getattr(scheduler, "_time_attr", "epoch")
    lengths = {"epoch": base.epochs, "training_iteration": math.ceil(base.epochs / base.evaluate_every)}
    if unit in lengths and most < lengths[unit]:
        kind = type(scheduler).__name__
        raise UserError(
            f"search: max_t {most:g} of {kind} ends every trial before its {lengths[unit]:g} {unit}s: increase it"
        )


def mutated_by(search: Search) -> list[str]:
    """The fields that Population Based Training changes during training."""
    return list(getattr(search.scheduler, "_hyperparam_mutations", {}))


def swaps(search: Search) -> bool:
    """Whether the scheduler pauses trials or continues one from another's checkpoint."""
    return isinstance(search.scheduler, HyperBandScheduler | PopulationBasedTraining)


def total(search: Search, searched: space.Space) -> int:
    """The number of trials: grid points × samples × repeats; samples count as 1 if nothing but grids is searched."""
    alike = searched.grids and not searched.domains and not mutated_by(search)
    return space.grid_points(searched) * (1 if alike else search.samples) * search.repeats


def teachers_of(base: Recipe, searched: space.Space) -> list[Recipe]:
    """Recipes that together have the teachers of all trials; raises UserError if every trial would need new ones."""
    fields = [field for field in searched.fields if field.split(".")[0] == "teachers"]
    choices = space.finite(searched)
    endless = [field for field in fields if field not in choices]
    if endless:
        raise UserError(
            f"search: {endless[0]} would train new teachers in every trial; search it in the teacher's own recipe"
        )
    recipes = []
    for point in itertools.product(*(choices[field] for field in fields)):
        pick = dict(zip(fields, point))
        values = {k: searched.objects[k][v] if k in searched.objects else v for k, v in pick.items()}
        recipes.append(change(base, values))
    return recipes

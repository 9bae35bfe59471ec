"""What a search needs to begin: its settings, its space and its base recipe, checked before it starts."""

import itertools
import math
from dataclasses import dataclass, replace

from ray.tune.schedulers import HyperBandScheduler, PopulationBasedTraining

from raykd import UserError
from raykd.launch.cluster.capacity import with_fixed_workers
from raykd.launch.driver.validate import check as check_recipe
from raykd.launch.search.space import Space, read
from raykd.metric import BUILT_IN
from raykd.recipe import Recipe, Search
from raykd.recipe.changes import change


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A search, its space, and the recipe that all trials start from."""

    search: Search
    space: Space
    base: Recipe  # with a validation split and a fixed number of workers

    @property
    def mutated(self) -> list[str]:
        """The fields that Population Based Training changes during training."""
        return list(getattr(self.search.scheduler, "_hyperparam_mutations", {}))

    @property
    def swaps(self) -> bool:
        """Whether the scheduler pauses trials or continues one from another's checkpoint."""
        return isinstance(self.search.scheduler, HyperBandScheduler | PopulationBasedTraining)

    @property
    def trials(self) -> int:
        """Their number: grid points × samples × repeats; samples count as 1 if nothing but grids is searched."""
        points = math.prod(map(len, self.space.grids.values()))
        alike = self.space.grids and not self.space.domains and not self.mutated
        return points * (1 if alike else self.search.samples) * self.search.repeats

    def with_teachers(self) -> list[Recipe]:
        """Recipes that together have the teachers of all trials.

        Raises UserError if every trial would need new ones.
        """
        fields = [field for field in self.space.fields if field.split(".")[0] == "teachers"]
        endless = [field for field in fields if field not in self.space.choices]
        if endless:
            raise UserError(
                f"search: {endless[0]} would train new teachers in every trial; search it in the teacher's own recipe"
            )
        points = itertools.product(*(self.space.choices[field] for field in fields))
        return [change(self.base, self.space.with_objects(dict(zip(fields, point)))) for point in points]


def setup_of(recipe: Recipe) -> Setup:
    """The set-up of the recipe's search.

    Raises UserError if it has none, and for one that can't run: unknown names, values of the wrong type, a share of the
    validation split that is not between 0 and 1, unsuitable searchers.
    """
    search = recipe.search
    if search is None:
        raise UserError("the recipe has no `search`: give it one, or train it with raykd train")
    space, share = read(search), recipe.data.validation or search.validation
    if not 0 < share < 1:
        raise UserError(f"search: validation is {share}; a search needs a share of the training split between 0 and 1")
    base = with_fixed_workers(replace(recipe, search=None, data=replace(recipe.data, validation=share)))
    setup = Setup(search=search, space=space, base=base)
    _check_metric(setup)
    _check_space(setup)
    _check_algorithms(setup)
    return setup


def _check_metric(setup: Setup) -> None:
    known = [*BUILT_IN, *(metric.name for metric in setup.base.metrics)]
    if setup.search.metric not in known:
        raise UserError(f"search: metric {setup.search.metric!r} must be one of {', '.join(known)}")


def _check_space(setup: Setup) -> None:
    space = setup.space
    for field, choices in space.choices.items():
        if not choices:
            raise UserError(f"search: {field} has no choices: add at least one")
    if not space.fields and not setup.mutated:
        raise UserError("search: the space is empty; name the fields to search")
    for pick in space.examples(setup.base.seed):
        try:
            trial = change(setup.base, space.overrides(pick))
            check_recipe(trial)
            if trial.teachers.placement != "inline":
                raise UserError("teachers.placement: trials reserve no resources for remote teachers; use inline")
        except UserError as error:
            raise UserError(f"search: {error}") from None
    for field in setup.mutated:
        if field not in space.fields:
            raise UserError(f"search: the scheduler changes {field}, which the space does not have; add it there")
        if field.startswith("optimizer.") and field not in ("optimizer.learning_rate", "optimizer.clip_norm"):
            raise UserError(f"search: {field} can't change during training: it is part of the optimizer's state")


def _check_algorithms(setup: Setup) -> None:
    search, scheduler, searcher = setup.search, setup.search.scheduler, setup.search.searcher
    if search.repeats > 1 and (searcher is not None or setup.swaps):
        raise UserError(
            "search: repeats need random or grid search; remove the searcher and schedulers that exchange trials"
        )
    for part in (scheduler, searcher):
        if getattr(part, "_metric", None) is not None or getattr(part, "metric", None) is not None:
            raise UserError(f"search: remove metric and mode from {type(part).__name__}; the recipe's search has them")
    if searcher is not None and setup.space.grids:
        kind, field = type(searcher).__name__, next(iter(setup.space.grids))
        raise UserError(f"search: {field} is a grid, which {kind} doesn't support; use tune.choice")
    _check_length(setup)
    if not setup.swaps:
        return
    kind = type(scheduler).__name__
    if setup.base.workers != 1:
        raise UserError(
            f"search: {kind} pauses and moves trials of one worker only: set workers 1, or use ASHAScheduler"
        )
    if searcher is not None and setup.mutated:
        raise UserError(f"search: {kind} doesn't support a searcher; remove it")
    if search.max_concurrent:
        raise UserError(f"search: {kind} pauses trials to let others run, so max_concurrent can't be set: remove it")


def _check_length(setup: Setup) -> None:
    """Raise UserError for a scheduler whose maximum time (100 by default) is shorter than every trial."""
    scheduler, base = setup.search.scheduler, setup.base
    most = getattr(scheduler, "_max_t", getattr(scheduler, "_max_t_attr", math.inf))
    unit = getattr(scheduler, "_time_attr", "epoch")
    lengths = {"epoch": base.epochs, "training_iteration": math.ceil(base.epochs / base.evaluate_every)}
    if unit in lengths and most < lengths[unit]:
        kind = type(scheduler).__name__
        raise UserError(
            f"search: max_t {most:g} of {kind} ends every trial before its {lengths[unit]:g} {unit}s: increase it"
        )

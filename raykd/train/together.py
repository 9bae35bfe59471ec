"""What it changes of a step's time to compute several networks as one pass."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from raykd import UserError
from raykd.methods.peers import PeerConfig
from raykd.recipe import Recipe
from raykd.train.assemble import FrozenTeacher, build_distiller, put_together
from raykd.train.state import new_state
from raykd.train.timing import OneBatch, events, in_turns


def gains(
    recipe: Recipe, teachers: Sequence[FrozenTeacher], data: OneBatch, device: torch.device, seconds: float
) -> dict[str, tuple[float, float]]:
    """By each field that computes several networks as one pass: a step's time with it on, as a share of that without.

    The bounds of the middle half of all pairs of steps, as what else runs here disturbs single ones. Without the fields
    that mean nothing to the recipe, and those that its networks or its other fields don't allow.
    """
    found = {}
    for name, ways in _ways(recipe).items():
        try:
            calls = [_steps(way, teachers, data, device) for way in ways]
        except UserError:
            continue
        pairs = zip(*in_turns(calls, seconds, device), strict=True)
        low, _, high = statistics.quantiles([together / apart for apart, together in pairs], n=4)
        found[name] = (low, high)
    return found


def _ways(recipe: Recipe) -> dict[str, tuple[Recipe, Recipe]]:
    """The recipe without and with each field that computes several networks as one pass."""
    found, method, teachers = {}, recipe.method, recipe.teachers
    if isinstance(method, PeerConfig) and not recipe.sync_batchnorm:
        ways = (replace(recipe, method=replace(method, together=way)) for way in (False, True))
        found["method.together"] = tuple(ways)
    if teachers.sources and teachers.cache == "none":
        ways = (replace(recipe, teachers=replace(teachers, together=way)) for way in (False, True))
        found["teachers.together"] = tuple(ways)
    return found


def _steps(recipe: Recipe, teachers, data: OneBatch, device: torch.device) -> Callable[[], Any]:
    """A step of the real loop at each call; raises UserError where the networks can't run as the recipe says."""
    apart = [replace(teacher, peers=()) for teacher in teachers]
    teachers = put_together(apart) if recipe.teachers.together else apart
    state = new_state(recipe, build_distiller(recipe, teachers, data.classes, recipe.seed), device)
    steps = events(recipe, state, teachers, data, device)
    return lambda: next(steps)

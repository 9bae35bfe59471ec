"""The precision of forward passes, as a context."""

import contextlib
from collections.abc import Callable

import torch

from raykd.recipe import Recipe

Context = Callable[[], contextlib.AbstractContextManager[object]]
"""A factory of contexts, one for each pass."""


def autocast(recipe: Recipe, device: torch.device) -> Context:
    """A factory of autocast contexts in the recipe's precision."""
    kind = getattr(torch, recipe.precision.autocast)
    return lambda: torch.autocast(device.type, dtype=kind, enabled=kind is not torch.float32)

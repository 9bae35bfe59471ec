"""Networks of one's own: `MODULE:CALLABLE`, Python beside the recipe that returns a network.

The callable gets `num_classes` and the recipe's options by name. Modules are imported only if they came with a recipe
that this process was told to run: a run directory that names others can't make it import them.
"""

import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import nn

from raykd import UserError
from raykd.models.libraries.probe import last_layer_run
from raykd.models.parts import Parts
from raykd.models.reader import ModuleOutputs

_came_with_the_recipe: set[str] = set()


def allow(modules: Collection[str]) -> None:
    """Let networks of these modules be built in this process."""
    _came_with_the_recipe.update(modules)


def callable_of(name: str) -> Any:
    """What MODULE:CALLABLE names; raises UserError where it can't be had."""
    module, _, path = name.partition(":")
    if module not in _came_with_the_recipe:
        raise UserError(
            f"unknown library {module!r} in {name!r}; there are torchvision, timm, hf, and modules that came with the "
            "recipe: put yours beside it and import it there; of a run that you trust, give --trust-source"
        )
    try:
        found = getattr(importlib.import_module(module), path, None)
    except ImportError as error:
        raise UserError(f"network {name!r}: {module} can't be imported: {error}") from error
    if not callable(found) or getattr(found, "__module__", module) != module:
        raise UserError(f"network {name!r}: {module} defines no callable {path!r}")
    return found


def build(name: str, num_classes: int, options: Mapping[str, Any]) -> nn.Module:
    """The module that the callable returns; raises UserError where it takes other arguments or returns no network."""
    make = callable_of(name)
    try:
        inspect.signature(make).bind(num_classes=num_classes, **options)
    except TypeError as error:
        raise UserError(f"network {name}: called with num_classes and the recipe's options: {error}") from None
    try:
        model = make(num_classes=num_classes, **options)
    except (Exception, SystemExit) as error:  # the user's code: whatever it raises is the user's to see, in one line
        raise UserError(f"network {name}: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"network {name}: returned {type(model).__name__}, not a torch.nn.Module")
    return model


def views(model: nn.Module, num_classes: int, image_size: int) -> Iterator[Parts]:
    """Its logits, and what enters its last layer as "pooled"."""
    yield Parts(model, reader=ModuleOutputs({}, last_layer_run(model, num_classes, image_size)))

"""The user's own networks: `MODULE:CALLABLE`, a function in a file next to the recipe that returns a network.

The callable gets `num_classes` and the recipe's options by name.
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from raykd import UserError
from raykd.models.libraries.probe import last_layer_run
from raykd.models.libraries.trusted import callable_of
from raykd.models.staged.parts import Parts
from raykd.models.staged.reader import Reader


def build(name: str, num_classes: int, options: Mapping[str, Any]) -> nn.Module:
    """The module that the callable returns; raises UserError if it takes other arguments or returns no network."""
    make = callable_of(name)
    try:
        inspect.signature(make).bind(num_classes=num_classes, **options)
    except TypeError as error:
        raise UserError(f"network {name}: called with num_classes and the recipe's options: {error}") from None
    try:
        model = make(num_classes=num_classes, **options)
    except (Exception, SystemExit) as error:  # the user's code: any error is shown to the user as one line
        raise UserError(f"network {name}: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"network {name}: returned {type(model).__name__}, not a torch.nn.Module")
    return model


def views(model: nn.Module, num_classes: int, image_size: int) -> Iterator[Parts]:
    """Its logits, and the input of its last layer as "pooled"."""
    yield Parts(model, reader=Reader(last_layer_run(model, num_classes, image_size)))

"""What a network consists of, as `Staged` and the definitions of networks describe it."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from raykd.models.staged.reader import Reader


class ModuleCall(NamedTuple):
    """A module that is run by another function than its own forward, such as a block without its last activation."""

    module: str  # dotted name
    function: Callable[[Any, Tensor], Tensor]  # of the module and its input


# A dotted module name, a module-level function between modules, or a module with the function that runs it.
Part = str | Callable[[Tensor], Tensor] | ModuleCall


class Parts(NamedTuple):
    """A chain, where running stem, stages, pool and head in order equals `model(images)`, or a model with a reader."""

    model: nn.Module
    stem: tuple[Part, ...] = ()
    stages: tuple[tuple[Part, ...], ...] = ()
    pool: tuple[Part, ...] = ()
    head: tuple[Part, ...] = ()
    reader: Reader | None = None
    pre: Mapping[str, tuple[Part, ...]] = MappingProxyType({})  # see `Staged`


def run_parts(model: nn.Module, parts: Sequence[Part], x: Tensor) -> Tensor:
    """Run a network's parts in order on the input of the first; returns the output of the last."""
    for part in parts:
        if isinstance(part, ModuleCall):
            x = part.function(model.get_submodule(part.module), x)
        else:
            x = model.get_submodule(part)(x) if isinstance(part, str) else part(x)
    return x

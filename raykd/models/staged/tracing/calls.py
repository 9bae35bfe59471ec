"""Modules that a forward pass calls in a row, and functions between them without parameters, known by their values."""

import inspect
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from raykd.models.staged.layers import flatten, mean_pool, to_first, to_last, to_tokens, transpose
from raykd.models.staged.parts import Part
from raykd.models.staged.reader import as_map


class Call(NamedTuple):
    """A module, its input and its output in a forward pass."""

    part: Part
    given: Tensor
    output: Tensor


class Calls:
    """The outermost modules that run after some point of a forward pass, in order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.complete = True  # each module has a single input and a single output
        self._depth = 0  # of the running module in the outermost one
        self._name = ""
        self._given: tuple[Any, ...] = ()

    def begin(self, name: str, arguments: tuple[Any, ...]) -> None:
        if self._depth == 0:  # its input is copied, since modules may work in place
            self._name, self._given = name, tuple(x.clone() if isinstance(x, Tensor) else x for x in arguments)
        self._depth += 1

    def end(self, output: Any) -> None:
        if self._depth == 1:
            given = self._given[0] if len(self._given) == 1 else None
            if isinstance(given, Tensor) and isinstance(output, Tensor):
                self.calls.append(Call(self._name, given, output.clone()))
            else:
                self.complete = False
        self._depth = max(self._depth - 1, 0)  # it is 0 for modules that began before that point


def not_default(module: nn.Module, keywords: dict[str, Any]) -> list[Any]:
    """Values of keywords that differ from the module's defaults."""
    known = inspect.signature(module.forward).parameters
    return [value for key, value in keywords.items() if key not in known or known[key].default is not value]


def parts_of(x: Tensor, calls: Sequence[Call], logits: Tensor) -> tuple[Part, ...]:
    """The calls' modules with the functions between them; empty if one of these is unknown."""
    parts: list[Part] = []
    for call in calls:
        between = function_between(x, call.given)
        if between is None:
            return ()
        parts += [*between, call.part]
        x = call.output
    between = function_between(x, logits)
    return () if between is None else (*parts, *between)


def function_between(x: Tensor, given: Tensor) -> tuple[Part, ...] | None:
    """The function, if any, that turns x into what the next module was given; None if it is none of these."""
    if equal(x, given):
        return ()
    for function in BETWEEN.get(x.ndim, ()):
        if equal(function(x), given):
            return (function,)
    prefix = given.shape[1] - x[0, 0].numel() if (x.ndim, given.ndim) == (4, 3) else 0
    if prefix > 0 and equal(to_tokens(x), given[:, prefix:]):
        return (partial(to_tokens, prefix=prefix),)
    return None


def equal(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors are equal up to rounding."""
    return x.shape == y.shape and bool((x - y).abs().max() <= 1e-4 * y.abs().max())


def as_maps(x: Any) -> Iterator[Tensor]:
    """What a module's output is as a map [B, D, h, w]."""
    if not isinstance(x, Tensor):
        return
    if x.ndim == 4:
        yield from (x, to_first(x))
    elif x.ndim == 3 and x.shape[1]:
        yield as_map(x)


def mean_of_tokens(x: Tensor) -> Tensor:
    """[B, N, D] → [B, D], over those that form a square map."""
    return mean_pool(as_map(x))


BETWEEN = {4: (mean_pool, flatten, to_tokens, to_last, to_first), 3: (mean_of_tokens, transpose, flatten, as_map)}

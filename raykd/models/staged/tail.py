"""The tail of a network that runs as a whole: what its own forward pass does from its last map to its logits.

It is found in a forward pass: the modules that run after the last map, and between them functions without parameters,
recognised by their values. Called by methods that classify maps.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.models.staged.layers import flatten, mean_pool, to_first, to_last, to_tokens, transpose
from raykd.models.staged.modes import evaluating, without_tf32
from raykd.models.staged.network import Staged
from raykd.models.staged.parts import ModuleCall, Part, run_parts
from raykd.models.staged.reader import as_map


def find_tail(network: Staged) -> None:
    """Set `network.tail` if it has none, so that the network classifies maps of its last stage.

    Raises UserError if the network has no stages, and if its logits can't be computed from its last map alone.
    """
    if network.is_chain or network.tail:
        return
    with evaluating(network), without_tf32():  # whose rounding would look like another function
        logits, feature_map, followers = _recorded(network, network.last_stage)
        found = (_parts(feature_map, calls, logits) for calls in _readings(followers))
        network.tail = next((parts for parts in found if parts and _is_exact(network, parts, feature_map, logits)), ())
    if not network.tail:
        raise UserError(
            f"{network.name} can't classify feature maps, because its logits are not computed from its last map alone, "
            "but from a class token or from several maps: use another network or method"
        )


class Call(NamedTuple):
    """A module, its input and its output in a forward pass."""

    part: Part
    given: Tensor
    output: Tensor


class Followers:
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


@torch.no_grad()
def _recorded(network: Staged, last: str) -> tuple[Tensor, Tensor, list[Followers]]:
    """Logits and last map of random images, and what follows each module whose output is that map."""
    weight, size = next(network.parameters()), network.image_size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(weight)
    feature_map = network.output(images, (last,)).features[last].clone()
    with _followers(network.model, feature_map) as followers:
        logits = network(images)
    return logits, feature_map, followers


@contextmanager
def _followers(model: nn.Module, feature_map: Tensor) -> Iterator[list[Followers]]:
    """A list that receives what follows each module whose output is the map, while the model runs."""
    followers: list[Followers] = []

    def begin(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], name: str) -> None:
        for each in followers:
            each.begin(name, (*inputs, *_not_default(module, keywords)))

    def end(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        for each in followers:
            each.end(output)
        if any(_equal(x, feature_map) for x in _as_maps(output[0] if isinstance(output, tuple) else output)):
            followers.append(Followers())

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                hooks.enter_context(module.register_forward_pre_hook(partial(begin, name=name), with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(end))
        yield followers


def _not_default(module: nn.Module, keywords: dict[str, Any]) -> list[Any]:
    """Values of keywords that differ from the module's defaults."""
    known = inspect.signature(module.forward).parameters
    return [value for key, value in keywords.items() if key not in known or known[key].default is not value]


def _readings(followers: Sequence[Followers]) -> Iterator[list[Call]]:
    """The calls after the map, from the last module that returns it on."""
    for calls in (each.calls for each in reversed(followers) if each.complete):
        yield calls
        if len(calls) > 1:  # timm's distilled networks have two heads, whose logits they average
            *others, first, second = calls
            if _equal(first.given, second.given) and first.output.shape == second.output.shape:
                mean = ModuleCall("", partial(mean_of_heads, names=(first.part, second.part)))
                yield [*others, Call(mean, first.given, (first.output + second.output) / 2)]


def _parts(x: Tensor, calls: Sequence[Call], logits: Tensor) -> tuple[Part, ...]:
    """The calls' modules with the functions between them; empty if one of these is unknown."""
    parts: list[Part] = []
    for call in calls:
        between = _between(x, call.given)
        if between is None:
            return ()
        parts += [*between, call.part]
        x = call.output
    between = _between(x, logits)
    return () if between is None else (*parts, *between)


def _between(x: Tensor, given: Tensor) -> tuple[Part, ...] | None:
    """The function, if any, that turns x into what the next module was given; None if it is none of these."""
    if _equal(x, given):
        return ()
    for function in BETWEEN.get(x.ndim, ()):
        if _equal(function(x), given):
            return (function,)
    prefix = given.shape[1] - x[0, 0].numel() if (x.ndim, given.ndim) == (4, 3) else 0
    if prefix > 0 and _equal(to_tokens(x), given[:, prefix:]):
        return (partial(to_tokens, prefix=prefix),)
    return None


@torch.no_grad()
def _is_exact(network: Staged, parts: Sequence[Part], feature_map: Tensor, logits: Tensor) -> bool:
    return _equal(run_parts(network.model, parts, feature_map), logits)


def _equal(x: Tensor, y: Tensor) -> bool:
    """Whether two tensors are equal up to rounding."""
    return x.shape == y.shape and bool((x - y).abs().max() <= 1e-4 * y.abs().max())


def _as_maps(x: Any) -> Iterator[Tensor]:
    """What a module's output is as a map [B, D, h, w]."""
    if not isinstance(x, Tensor):
        return
    if x.ndim == 4:
        yield from (x, to_first(x))
    elif x.ndim == 3 and x.shape[1]:
        yield as_map(x)


def mean_of_heads(model: nn.Module, x: Tensor, names: Sequence[Part]) -> Tensor:
    """The mean of the named modules' outputs for the same input."""
    return torch.stack([run_parts(model, (name,), x) for name in names]).mean(0)


def mean_of_tokens(x: Tensor) -> Tensor:
    """[B, N, D] → [B, D], over those that form a square map."""
    return mean_pool(as_map(x))


BETWEEN = {4: (mean_pool, flatten, to_tokens, to_last, to_first), 3: (mean_of_tokens, transpose, flatten)}

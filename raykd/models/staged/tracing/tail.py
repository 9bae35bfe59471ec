"""The tail of a network that runs as a whole: what its own forward pass does from its last map to its logits.

It is found in a forward pass: the modules that run after the last map, and between them functions without parameters,
recognised by their values. Called by methods that classify maps.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.models.staged.modes import evaluating, without_tf32
from raykd.models.staged.network import Staged
from raykd.models.staged.parts import ModuleCall, Part, run_parts
from raykd.models.staged.tracing.calls import Call, Calls, as_maps, equal, not_default, parts_of


@torch.no_grad()
def find_tail(network: Staged) -> None:
    """Set `network.tail` if it has none, so that the network classifies maps of its last stage.

    Raises UserError if the network has no stages, and if its logits can't be computed from its last map alone.
    """
    if network.is_chain or network.tail:
        return
    with evaluating(network), without_tf32():  # whose rounding would look like another function
        logits, feature_map, followers = _recorded(network, network.last_stage)
        for parts in (parts_of(feature_map, calls, logits) for calls in _readings(followers)):
            if parts and equal(run_parts(network.model, parts, feature_map), logits):
                network.tail = parts
                break
    if not network.tail:
        raise UserError(
            f"{network.name} can't classify feature maps, because its logits are not computed from its last map alone, "
            "but from a class token or from several maps: use another network or method"
        )


def _recorded(network: Staged, last: str) -> tuple[Tensor, Tensor, list[Calls]]:
    """Logits and last map of random images, and what follows each module whose output is that map."""
    weight, size = next(network.parameters()), network.image_size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(weight)
    feature_map = network.output(images, (last,)).features[last].clone()
    with _followers(network.model, feature_map) as followers:
        logits = network(images)
    return logits, feature_map, followers


@contextmanager
def _followers(model: nn.Module, feature_map: Tensor) -> Iterator[list[Calls]]:
    """A list that receives what follows each module whose output is the map, while the model runs."""
    followers: list[Calls] = []

    def begin(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], name: str) -> None:
        for each in followers:
            each.begin(name, (*inputs, *not_default(module, keywords)))

    def end(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        for each in followers:
            each.end(output)
        if any(equal(x, feature_map) for x in as_maps(output[0] if isinstance(output, tuple) else output)):
            followers.append(Calls())

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                hooks.enter_context(module.register_forward_pre_hook(partial(begin, name=name), with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(end))
        yield followers


def _readings(followers: Sequence[Calls]) -> Iterator[list[Call]]:
    """The calls after the map, from the last module that returns it on."""
    for calls in (each.calls for each in reversed(followers) if each.complete):
        yield calls
        if len(calls) > 1:  # timm's distilled networks have two heads, whose logits they average
            *others, first, second = calls
            if equal(first.given, second.given) and first.output.shape == second.output.shape:
                mean = ModuleCall("", partial(mean_of_heads, names=(first.part, second.part)))
                yield [*others, Call(mean, first.given, (first.output + second.output) / 2)]


def mean_of_heads(model: nn.Module, x: Tensor, names: Sequence[Part]) -> Tensor:
    """The mean of the named modules' outputs for the same input."""
    return torch.stack([run_parts(model, (name,), x) for name in names]).mean(0)

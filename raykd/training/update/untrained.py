"""Rejects a loss that doesn't train the classifier that will be deployed, or depends on parameters that don't train."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Distiller
from raykd.data.device.fetch import fetch
from raykd.models.staged import Staged


def expect_trained_classifier(distiller: Distiller, method: str) -> None:
    """Raise UserError if the deployed network's classifier trains, but its gradients are all 0 or missing.

    A method that compares features alone (γ = 0) leaves the classifier as it was initialised: its accuracy would be
    that of chance, and nothing else would say so. A frozen classifier is meant to stay as it is.
    """
    network = next(iter(distiller.networks().values()))
    if not isinstance(network, Staged):
        return
    layers: list[nn.Module] = [network.model.get_submodule(name) for name in network.classifiers]
    trained = [p for p in chain.from_iterable(layer.parameters() for layer in layers) if p.requires_grad]
    gradients = [p.grad for p in trained if p.grad is not None]
    if trained and not (gradients and fetch(torch.stack(torch._foreach_norm(gradients)).any())):
        if network.num_classes == 1:
            raise UserError("the data has a single class, which every image is of: add images of another class")
        raise UserError(
            f"no term of {method}'s loss trains the student's classifier ({', '.join(network.classifiers)}): give the "
            "labels a weight (method.gamma) or add a method that reads logits (raykd.methods.sum); to match features "
            "only, use feature_match and then train a linear probe"
        )


def expect_registered(loss: Tensor, distiller: Distiller, method: str) -> None:
    """Raise UserError if the loss depends on parameters that are not the distiller's, or on none that trains.

    Layers in a plain list are not the distiller's: nothing would train or save them.
    """
    if loss.grad_fn is None:
        raise UserError(f"{method}: its loss depends on no parameter that trains")
    known = {id(parameter) for parameter in distiller.parameters()}
    for parameter in _parameters_of(loss):
        if id(parameter) not in known:
            raise UserError(
                f"{method}: its loss depends on a parameter {list(parameter.shape)} that it doesn't contain, so "
                "nothing would train it: register its module (nn.ModuleList for lists)"
            )


def _parameters_of(loss: Tensor) -> Iterator[nn.Parameter]:
    """The parameters that the graph of a loss ends in."""
    left: list[Any] = [loss.grad_fn]
    seen = set(left)
    while left:
        node = left.pop()
        if isinstance(getattr(node, "variable", None), nn.Parameter):
            yield node.variable
        following = [each for each, _ in node.next_functions if each is not None and each not in seen]
        seen.update(following)
        left += following

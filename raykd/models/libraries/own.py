"""The user's own networks: `MODULE:CALLABLE`, a function in a file next to the recipe that returns a network.

The callable gets `num_classes` and the recipe's options by name.
"""

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.models.libraries.probe import last_layer_run
from raykd.models.libraries.trusted import callable_of
from raykd.models.staged import CAN_NOT_RUN
from raykd.models.staged.modes import evaluating
from raykd.models.staged.parts import Parts
from raykd.models.staged.reader import Reader


def build(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """The module that the callable returns; raises UserError if it takes other arguments or returns no classifier."""
    model = _made(name, num_classes, options)
    _expect_float32(name, model)
    images = torch.zeros(2, 3, image_size, image_size)
    try:
        with evaluating(model):
            _expect_logits(name, model, images)  # which also creates the parameters of lazy modules
    except CAN_NOT_RUN:  # `Staged` reports it: the images may be too small
        return model
    with torch.random.fork_rng(devices=[]):
        trained = copy.deepcopy(model).train()
        random = torch.randn(images.shape)
        _expect_logits(name, trained, random)
        _expect_complete_state(name, trained.eval(), _made(name, num_classes, options), random)
    return model


def _made(name: str, num_classes: int, options: Mapping[str, Any]) -> nn.Module:
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


@torch.no_grad()
def _expect_logits(name: str, model: nn.Module, images: Tensor) -> None:
    """Raise UserError unless the network, run in its mode, outputs one tensor, and CAN_NOT_RUN's in evaluation mode."""
    mode = "training" if model.training else "evaluation"
    try:
        output = model(images)
    except Exception as error:  # noqa: BLE001  the user's code: any error is shown to the user as one line
        if isinstance(error, CAN_NOT_RUN) and not model.training:
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UserError(f"network {name}: in {mode} mode, for images {list(images.shape)}: {reason}") from error
    if not isinstance(output, Tensor):
        raise UserError(
            f"network {name}: in {mode} mode it returns {type(output).__name__}, not a tensor of logits [N, C]: return "
            "them alone"
        )


@torch.no_grad()
def _expect_complete_state(name: str, trained: nn.Module, fresh: nn.Module, images: Tensor) -> None:
    """Raise UserError unless a fresh network with the state_dict of a trained one is the same network."""
    other = [key for key, value in trained.state_dict().items() if not isinstance(value, Tensor)]
    if other:
        raise UserError(f"network {name}: {other[0]} of its state_dict is no tensor, which files of weights can't hold")
    fresh.eval()(images)  # creates the parameters of lazy modules
    fresh.load_state_dict(trained.state_dict())
    logits = trained(images)
    if _close(logits, trained(images)) and not _close(logits, fresh(images)):
        raise UserError(
            f"network {name}: its state_dict is not all that its logits depend on, so files of weights would miss the "
            "rest: use nn.ModuleList for lists of modules, and persistent buffers for what training changes"
        )


def _close(logits: Tensor, others: Tensor) -> bool:
    return torch.allclose(logits, others, rtol=1e-3, atol=1e-5, equal_nan=True)


def _expect_float32(name: str, model: nn.Module) -> None:
    for key, parameter in model.named_parameters():
        if parameter.dtype is not torch.float32 or parameter.device.type != "cpu":
            kind = f"{str(parameter.dtype).removeprefix('torch.')} on {parameter.device}"
            raise UserError(f"network {name}: {key} is {kind}: return it in float32 on the CPU")
    if not any(True for _ in model.parameters()):
        raise UserError(f"network {name}: it has no parameters")


def views(model: nn.Module, num_classes: int, image_size: int) -> Iterator[Parts]:
    """Its logits, and the input of its last layer as "pooled"."""
    yield Parts(model, reader=Reader(last_layer_run(model, num_classes, image_size)))

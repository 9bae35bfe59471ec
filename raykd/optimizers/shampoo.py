"""Shampoo of pytorch-optimizer, whose state is saved and restored as tensors and plain values."""

from typing import Any

from pytorch_optimizer import ScalableShampoo
from torch import Tensor

OBJECTS = {"pre_conditioner": ("statistics", "pre_conditioners"), "graft": ("momentum",)}
"""Objects in a parameter's state, and their tensors (or lists of tensors) that change with the steps."""


class Shampoo(ScalableShampoo):
    """The library's Shampoo, with a `state_dict` of tensors and plain values instead of the objects in its state."""

    def state_dict(self) -> dict[str, Any]:
        plain: dict[str, Any] = super().state_dict()
        state = {key: _as_tensors(entry) for key, entry in plain["state"].items()}
        return plain | {"state": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; raises KeyError or ValueError if it belongs to another optimizer."""
        super().load_state_dict(state_dict | {"state": {}})
        parameters = [p for group in self.param_groups for p in group["params"]]
        for group in self.param_groups:
            self._begin(group, [parameters[int(key)] for key in state_dict["state"]])
        for key, saved in state_dict["state"].items():
            _restore(self.state[parameters[int(key)]], saved)

    def _begin(self, group: dict[str, Any], started: list[Tensor]) -> None:
        """Create the state of parameters that have had a gradient, as the library does at their first one."""
        known = {id(p) for p in started}
        mine = [p for p in group["params"] if id(p) in known]
        gradients = [p.grad for p in mine]
        for p in mine:
            p.grad = p.detach()  # only its shape is read
        self.init_group({**group, "params": mine})
        for p, gradient in zip(mine, gradients, strict=True):
            p.grad = gradient


def _as_tensors(entry: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in entry.items() if name not in OBJECTS}
    return plain | {f"{name}.{part}": getattr(entry[name], part) for name, parts in OBJECTS.items() for part in parts}


def _restore(entry: dict[str, Any], saved: dict[str, Any]) -> None:
    """Copy saved tensors into a parameter's state, which exists on its device."""
    ours = _as_tensors(entry)
    if ours.keys() != saved.keys():
        raise ValueError("the optimizer's state was written by another version of Shampoo")
    for name, value in ours.items():
        pairs = zip(value, saved[name], strict=True) if isinstance(value, list) else [(value, saved[name])]
        for tensor, stored in pairs:
            tensor.copy_(stored)


def shampoo(groups: list[dict[str, Any]], rate: float, momentum: float, preconditioning_every: int) -> Shampoo:
    """Shampoo with the library's defaults for everything else. preconditioning_every: in steps."""
    return Shampoo(groups, lr=rate, betas=(momentum, 0.999), preconditioning_compute_steps=preconditioning_every)

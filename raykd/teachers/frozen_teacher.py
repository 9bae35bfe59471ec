"""A frozen teacher, and the precision of its passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol, cast

import numpy as np
import torch
from torch import Tensor, fx

from raykd.contract import Output
from raykd.models.frozen.freeze import cast_weights
from raykd.models.frozen.fused import SelectedOutputs, fuse, trace_network
from raykd.models.staged import Staged
from raykd.recipe import Teachers
from raykd.teachers.captured import Captured, Pass
from raykd.teachers.verified import verified


class Cache(Protocol):
    """Interface of one teacher's cached outputs; see raykd.teachers.cache."""

    def output(self, addresses: np.ndarray, device: torch.device, compute: Callable[[], Output]) -> Output:
        """The output for images at addresses [B]; if a row is missing, the whole batch is computed."""
        ...

    def holds(self, addresses: np.ndarray) -> bool:
        """Whether all rows at addresses [B] exist."""
        ...


Launch = Literal["captured", "one by one", "compiled"]
"""How a pass's kernels are launched; one by one: by the network's own code, as always on CPUs unless "compiled"."""


class TeacherPrecision(NamedTuple):
    """The precision and the launch of a teacher's passes."""

    precision: str = "recipe"  # or the name of a torch dtype
    launch: Launch = "captured"

    def __str__(self) -> str:
        plain = "the recipe's precision" if self.precision == "recipe" else self.precision
        return plain if self.launch == "captured" else f"{plain}, {self.launch}"


def recipe_precision(teachers: Teachers) -> TeacherPrecision:
    """The precision of `teachers.form` in a recipe; "auto" starts with the recipe's own."""
    precision = "recipe" if teachers.form == "auto" else teachers.form
    return TeacherPrecision(precision, "captured" if teachers.capture else "one by one")


@dataclass(frozen=True)
class FrozenTeacher:
    """A network that is not trained, with the precision of its passes and an optional cache of its outputs."""

    name: str
    network: Staged  # optimised for inference: see raykd.models.frozen
    path: str  # name of its run or weights
    parameters: int  # of the network as it was trained
    cache: Cache | None = None  # of its outputs, if the recipe requests one
    precision: TeacherPrecision = TeacherPrecision()  # and launch, of its passes in training
    knows_classes: bool = True  # False: its logits are not of the data's classes, and only features are used
    remarks: tuple[str, ...] = ()  # messages for the user on how it was adapted to the data

    def output(self, images: Tensor, features: Sequence[str]) -> Output:
        """`network.output` in this teacher's precision, prepared at the first call from the network's current state.

        Logits and features are float32 if the precision has a dtype of its own.
        """
        own = _dtype(self.precision)
        if own is None:
            return self._run(images, tuple(features))
        with torch.autocast(images.device.type, dtype=own):
            output = self._run(images, tuple(features))
        return Output(output.logits.float(), {name: feature.float() for name, feature in output.features.items()})

    @cached_property
    def _runs(self) -> dict[Any, Callable[[Tensor], Output]]:
        return {}

    def _run(self, images: Tensor, features: tuple[str, ...]) -> Output:
        """Run in autocast's dtype if autocast is on: weights are cast once, not in every pass."""
        device = images.device.type
        kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        if (kind, features) not in self._runs:
            self._runs[kind, features] = runner(self.network, features, kind, self.precision.launch)
        return self._runs[kind, features](images)


def runner(
    network: Staged, features: tuple[str, ...], kind: torch.dtype | None, launch: Launch
) -> Callable[[Tensor], Output]:
    """`network.output` of some features with weights of dtype `kind`; None: unchanged."""
    network = network if kind is None else cast_weights(network, kind)
    on_gpu = next(network.parameters()).device.type == "cuda"
    if launch == "one by one" or (launch == "captured" and not on_gpu):
        return lambda images: network.output(images, features)
    run = verified(network.name, _optimised(network, features, launch), SelectedOutputs(network, features))

    def output(images: Tensor) -> Output:
        logits, *maps = run(images)
        return Output(logits, dict(zip(features, maps, strict=True)))

    return output


def _optimised(network: Staged, features: tuple[str, ...], launch: Launch) -> Pass:
    graph = trace_network(network, features)
    if launch == "compiled":
        return cast(Pass, torch.compile(graph))
    if not torch.are_deterministic_algorithms_enabled():  # cuDNN is free to choose fused kernels
        graph = fuse(graph)
    # A network that could not be traced may launch different kernels for different images, which a graph can't.
    return Captured(graph) if isinstance(graph, fx.GraphModule) else graph


def _dtype(chosen: TeacherPrecision) -> torch.dtype | None:
    return None if chosen.precision == "recipe" else getattr(torch, chosen.precision)

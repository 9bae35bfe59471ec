"""A frozen teacher, and the precision that its passes are computed in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from raykd.contract import Output
from raykd.models.frozen import lowered
from raykd.models.staged import Staged
from raykd.recipe import Teachers


class CachedLogits(Protocol):
    """One teacher's logits by sample and pass; see raykd.teachers.logit_cache."""

    def logits(self, tags: np.ndarray, device: torch.device, compute: Callable[[], Tensor]) -> Tensor:
        """Rows of `tags`, [B, C] float32; those that are missing are computed, all of the batch at once."""
        ...


class Form(NamedTuple):
    precision: str = "recipe"  # or the name of a torch type
    compiled: bool = False

    def __str__(self) -> str:
        plain = "the recipe's precision" if self.precision == "recipe" else self.precision
        return f"{plain}, compiled" if self.compiled else plain


def named(teachers: Teachers) -> Form:
    """The form that the recipe names; "auto" begins with the plain one."""
    return Form() if teachers.form == "auto" else Form(teachers.form)


@dataclass(frozen=True)
class FrozenTeacher:
    name: str
    network: Staged  # in the form that costs least: see raykd.models.frozen
    path: str  # of its run, or its weights' name
    parameters: int  # of the network as it was trained
    kept: CachedLogits | None = None  # its logits in files, where the recipe says so
    form: Form = Form()  # what its passes in training are computed in
    knows_classes: bool = True  # False: its logits are not the data's classes, and only features are read
    remarks: tuple[str, ...] = ()  # what the user is told of how it was made to fit

    def output(self, images: Tensor, features: Sequence[str]) -> Output:
        """`network.output` in this teacher's form, which is made of the network as it lies at the first call."""
        return self._run(images, features)

    @cached_property
    def _run(self):
        return runner(self.network, self.form)


def runner(network: Staged, form: Form) -> Callable[[Tensor, Sequence[str]], Output]:
    """`network.output` in a form; a form of a type of its own gives float32 logits and features."""
    kind = _type(form)
    network = network if kind is None else lowered(network, kind)
    output = torch.compile(network.output) if form.compiled else network.output
    if kind is None:
        return output

    def run(images: Tensor, features: Sequence[str]) -> Output:
        with torch.autocast(images.device.type, dtype=kind):
            return _whole(output(images, features))

    return run


def _type(form: Form) -> torch.dtype | None:
    return None if form.precision == "recipe" else getattr(torch, form.precision)


def _whole(output: Output) -> Output:
    """In float32."""
    return Output(output.logits.float(), {name: feature.float() for name, feature in output.features.items()})

"""Ends the run at the step of the first non-finite loss, naming the term and saving the batch."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from raykd.contract import Batch
from raykd.data.device.fetch import fetch, wait_for
from raykd.recipe import Recipe

if TYPE_CHECKING:
    from raykd.training.update.state import State


class NotFiniteError(ArithmeticError):
    """A loss term, a gradient, or logits of an evaluation became NaN or infinite."""


class FiniteCheck:
    """Checks each step's terms and gradient: at once on the CPU; on a GPU one step later, without waiting for it.

    A GPU skips the update of a non-finite gradient (see `skip`), so the dumped weights are finite.
    """

    def __init__(self, recipe: Recipe, state: "State", rank: int):
        self._recipe, self._state, self._rank = recipe, state, rank
        self._pending: list[tuple[torch.cuda.Event, tuple[Tensor, list[str], Batch, int]]] = []

    def __call__(self, terms: Tensor, names: list[str], batch: Batch) -> None:
        """Check the terms of a step, one vector, before its backward pass."""
        self.last()
        self._look(terms, names, batch)

    def gradient(self, norm: Tensor, batch: Batch) -> None:
        """Check the gradient's norm before the update; with float16 the scaler does, as gradients overflow there."""
        if not self._state.scaler.is_enabled():
            self._look(norm.detach()[None], ["the gradient"], batch)

    def _look(self, values: Tensor, names: list[str], batch: Batch) -> None:
        if values.device.type == "cpu":
            self._judge(values, names, batch, self._state.step)
            return
        copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        self._pending.append((copied, (copy, names, batch, self._state.step)))

    def last(self) -> None:
        """Check what is still unchecked: on a GPU the last step, which has run except for its update."""
        pending, self._pending = self._pending, []
        for copied, judged in pending:
            wait_for(copied)
            self._judge(*judged)

    def _judge(self, values: Tensor, names: list[str], batch: Batch, number: int) -> None:
        bad = [name for name, value in zip(names, fetch(values), strict=True) if not math.isfinite(value)]
        if not bad:
            return
        where = f" The batch and the weights are in {self._dump(batch, number)}." if self._recipe.debug.nan_dump else ""
        raise NotFiniteError(
            f"step {number}, worker {self._rank}: {', '.join(bad)} is not finite "
            f"(samples {_some(batch.index.tolist())}).{where} Lower the learning rate, clip gradients, or use bfloat16."
        )

    def _dump(self, batch: Batch, number: int) -> Path:
        folder = Path(self._recipe.debug.nan_dump).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step-{number:09d}-rank-{self._rank}.safetensors"
        weights = {
            f"distiller.{k}": v.detach().cpu().contiguous().clone()
            for k, v in self._state.distiller.state_dict().items()
        }
        tensors = {f"batch.{k}": v.cpu().contiguous() for k, v in batch._asdict().items() if isinstance(v, Tensor)}
        save_file(tensors | weights, path)
        return path


def skip(optimizer: torch.optim.Optimizer, norm: Tensor) -> None:
    """Make a fused optimizer on a GPU skip the update for a non-finite gradient, without device synchronisation.

    This is the flag that GradScaler sets; the other workers have the same gradient, and so skip too.
    """
    finite = norm < math.inf  # False for NaN too
    optimizer.found_inf = torch.logical_not(finite, out=torch.empty_like(norm, dtype=torch.float32))  # type: ignore[attr-defined]  # fused steps read it, undeclared


def _some(indices: list[int]) -> str:
    """The first eight; a dump holds all of them."""
    more = f" and {len(indices) - 8} more" if len(indices) > 8 else ""
    return f"{', '.join(map(str, indices[:8]))}{more}"

"""A loss that is not finite ends the run at its step, with the term's name and the batch that did it."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from raykd.contract import Batch, Step
from raykd.recipe import Recipe

if TYPE_CHECKING:
    from raykd.train.state import State


class NotFiniteError(ArithmeticError):
    """A loss term became NaN or infinite."""


class FiniteCheck:
    """Looks at each step's terms and gradient: at once on the CPU; on a GPU one step later, when the answer is there.

    A GPU skips the update of a gradient that is not finite (see `skip`), so the dump has weights that are.
    """

    def __init__(self, recipe: Recipe, state: "State", rank: int):
        self._recipe, self._state, self._rank = recipe, state, rank
        self._pending: list[tuple[torch.cuda.Event, tuple[Tensor, list[str], Batch, int]]] = []

    def __call__(self, step: Step, batch: Batch) -> None:
        """Judge the terms of a step before its backward pass."""
        self.last()
        self._look(torch.stack([term.detach().float() for term in step.terms.values()]), list(step.terms), batch)

    def gradient(self, norm: Tensor, batch: Batch) -> None:
        """Judge the gradient's norm before the update; with float16 the scaler does, as gradients overflow there."""
        if not self._state.scaler.is_enabled():
            self._look(norm.detach()[None], ["the gradient"], batch)

    def _look(self, values: Tensor, names: list[str], batch: Batch) -> None:
        finite = torch.isfinite(values)
        if finite.device.type == "cpu":
            self._judge(finite, names, batch, self._state.step)
            return
        answer = torch.empty(finite.shape, dtype=torch.bool, pin_memory=True).copy_(finite, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending.append((event, (answer, names, batch, self._state.step)))

    def last(self) -> None:
        """Look at what is still unlooked at."""
        pending, self._pending = self._pending, []
        for event, judged in pending:
            event.synchronize()
            self._judge(*judged)

    def _judge(self, finite: Tensor, names: list[str], batch: Batch, number: int) -> None:
        if bool(finite.all()):
            return
        bad = [name for name, good in zip(names, finite.tolist()) if not good]
        where = f" The batch and the weights are in {self._dump(batch, number)}." if self._recipe.debug.nan_dump else ""
        raise NotFiniteError(
            f"step {number}, worker {self._rank}: {', '.join(bad)} is not finite "
            f"(samples {batch.index.tolist()}).{where} Lower the learning rate, clip gradients, or use bfloat16."
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
    """Have a fused optimizer on a GPU leave all as it is where the gradient is not finite, without asking the device.

    The same flag that GradScaler sets; the other workers hold the same gradient, and so skip too.
    """
    optimizer.found_inf = (~torch.isfinite(norm)).float()

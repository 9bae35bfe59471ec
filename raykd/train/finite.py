"""A loss that is not finite ends the run at its step, with the term's name and the batch that did it."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from raykd.contract import Batch, Step
from raykd.recipe import Recipe

if TYPE_CHECKING:
    from raykd.train.loop import State


class NotFiniteError(ArithmeticError):
    """A loss term became NaN or infinite."""


class FiniteCheck:
    """Looks at each step's terms: at once on the CPU; on a GPU one step later, when the answer has come without waiting."""

    def __init__(self, recipe: Recipe, state: "State", rank: int):
        self._recipe, self._state, self._rank = recipe, state, rank
        self._pending: tuple[torch.cuda.Event, tuple[Tensor, Step, Batch, int]] | None = None

    def __call__(self, step: Step, batch: Batch) -> None:
        """Judge the terms of a step before its backward pass."""
        finite = torch.isfinite(torch.stack([term.detach().float() for term in step.terms.values()]))
        if finite.device.type == "cpu":
            self._judge(finite, step, batch, self._state.step)
            return
        self.last()
        answer = torch.empty(finite.shape, dtype=torch.bool, pin_memory=True).copy_(finite, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending = (event, (answer, step, batch, self._state.step))

    def last(self) -> None:
        """Look at the step that is still unlooked at."""
        if self._pending is not None:
            (event, judged), self._pending = self._pending, None
            event.synchronize()
            self._judge(*judged)

    def _judge(self, finite: Tensor, step: Step, batch: Batch, number: int) -> None:
        if bool(finite.all()):
            return
        bad = [name for name, good in zip(step.terms, finite.tolist()) if not good]
        where = f" The batch and the weights are in {self._dump(batch, number)}." if self._recipe.debug.nan_dump else ""
        raise NotFiniteError(
            f"step {number}, worker {self._rank}: {', '.join(bad)} is not finite "
            f"(samples {batch.index.tolist()}).{where} Lower the learning rate, clip gradients, or use bfloat16."
        )

    def _dump(self, batch: Batch, number: int) -> Path:
        folder = Path(self._recipe.debug.nan_dump).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"step-{number:09d}-rank-{self._rank}.safetensors"
        weights = {f"distiller.{k}": v.detach().cpu().clone() for k, v in self._state.distiller.state_dict().items()}
        save_file({f"batch.{k}": v.cpu().contiguous() for k, v in batch._asdict().items()} | weights, path)
        return path

"""The training state."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Distiller
from raykd.recipe import Recipe
from raykd.training.update import optim
from raykd.training.update.average import WeightAverage
from raykd.training.update.meters import Meter


@dataclass
class State:
    """Everything that changes during training, and so the content of a checkpoint. No random state: see `seed_step`."""

    distiller: Distiller
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: WeightAverage | None
    initial_optimizer: torch.optim.Optimizer | None = None  # of the initialise phase, if the recipe has one
    step: int = 0
    best: float = -math.inf  # best value so far of the selection metric (see `selects`)
    waited: int = 0  # evaluations since then
    meter: Meter = field(default_factory=Meter)

    def count_evaluation(self, selection: float) -> None:
        """Count an evaluation for early stopping: `waited` grows while the best value is not exceeded."""
        self.best, self.waited = (selection, 0) if selection > self.best else (self.best, self.waited + 1)

    def snapshot(self) -> dict[str, Any]:
        """A copy on the CPU, independent of further steps."""
        state = {name: getattr(self, name).state_dict() for name in (*self._parts, "meter")}
        state["ema"] = self.ema.state_dict() if self.ema is not None else {}
        return {"step": self.step, "best": self.best, "waited": self.waited, **_copy(state)}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Load a `snapshot`; raises UserError if it belongs to another recipe."""
        snapshot = {"best": -math.inf, "waited": 0} | snapshot  # absent from checkpoints of versions without patience
        try:
            self.step, self.best, self.waited = (snapshot[name] for name in ("step", "best", "waited"))
            for name in self._parts:
                getattr(self, name).load_state_dict(snapshot[name])
            self.meter.load_state_dict(snapshot["meter"], next(self.distiller.parameters()).device)
            if self.ema is not None:
                self.ema.load_state_dict(snapshot["ema"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            why = str(error).strip().splitlines()[0]
            raise UserError(
                f"the checkpoint doesn't fit the recipe's networks or optimizer ({why}): give the run another --name"
            ) from None

    @property
    def _parts(self) -> tuple[str, ...]:
        initial = () if self.initial_optimizer is None else ("initial_optimizer",)
        return ("distiller", "optimizer", *initial, "scaler")

    def enter(self, initialising: bool) -> bool:
        """Enter the initialise phase or the training phase, as `step` requires; returns which."""
        self.distiller.initialising = initialising
        return initialising

    @property
    def initialising(self) -> bool:
        return self.distiller.initialising

    @property
    def active_optimizer(self) -> torch.optim.Optimizer:
        """The current phase's optimizer; each starts without momentum."""
        if self.initialising and self.initial_optimizer is not None:
            return self.initial_optimizer
        return self.optimizer

    @property
    def evaluated(self) -> Distiller:
        """The distiller whose networks are evaluated and deployed: the averaged one if there is one."""
        return self.ema.module if self.ema is not None else self.distiller


def _copy(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, (list, tuple)) else value


def new_state(recipe: Recipe, distiller: Distiller, device: torch.device) -> State:
    """The state before the first step, on the device."""
    layout = torch.channels_last if recipe.precision.channels_last else torch.preserve_format
    distiller = distiller.to(device).to(memory_format=layout)
    if recipe.sync_batchnorm:
        distiller = nn.SyncBatchNorm.convert_sync_batchnorm(distiller)
    if not recipe.precision.compile:  # which updates the counters inside kernels that it launches anyway
        count_on_host(distiller)
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision.autocast == "float16")
    ema = WeightAverage(distiller, recipe.ema) if recipe.ema else None
    initial = optim.build(recipe.initialise.optimizer, distiller) if recipe.initialise.epochs else None
    return State(distiller, optim.build(recipe.optimizer, distiller), scaler, ema, initial)


def count_on_host(module: nn.Module) -> None:
    """Keep BatchNorms' batch counters, which nothing reads, on the CPU: a GPU would launch a kernel for each."""
    for norm in module.modules():
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.momentum is None:
            continue
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.cpu()


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step (dropout): a function of seed, step and rank, so checkpoints need no random state."""
    torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)

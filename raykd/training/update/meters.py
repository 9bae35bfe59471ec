"""Running means without device synchronisation, and a stopwatch for logged steps."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.contract import Step
from raykd.data.device.fetch import fetch, wait_for_all

Layout = tuple[tuple[str, str, int | None], ...]
"""The parts of a vector: "terms" or "notes", the name, and how many numbers it has (None: a scalar)."""


class Meter:
    """Sums over an evaluation interval, which stay on the device until `means` reads them."""

    def __init__(self) -> None:
        self.sums: dict[Layout, Tensor] = {}  # float64; terms and notes of steps with the same names
        self.norm: Tensor | None = None
        self.steps = 0
        self.images = 0
        self.seconds = 0.0  # since the end of the previous interval, its evaluation included
        self.stepping = 0.0  # of the steps only
        self.times: dict[str, float] = {}
        self.timed_steps = 0
        self.rate = 0.0
        self._since = time.perf_counter()
        self._began: float | None = None

    def begin(self) -> None:
        """Start or resume the interval's steps."""
        self._began = time.perf_counter()

    def _clocks(self) -> dict[str, float]:
        now = time.perf_counter()
        stepped = now - self._began if self._began is not None else 0.0
        return {"seconds": self.seconds + now - self._since, "stepping": self.stepping + stepped}

    def add(self, step: Step, norm: Tensor, local: int, batch_size: int) -> None:
        """Add one step; terms and notes are weighted by the worker's share of the global batch."""
        layout, values = _flat(step)
        values = values.double() * (local / batch_size)
        self.sums[layout] = self.sums[layout] + values if layout in self.sums else values
        self.norm = norm if self.norm is None else self.norm + norm
        self.steps += 1
        self.images += batch_size

    def timed(self, times: dict[str, float], rate: float) -> None:
        """Add the parts of one logged step, in seconds."""
        self.times = {name: self.times.get(name, 0.0) + value for name, value in times.items()}
        self.timed_steps += 1
        self.rate = rate

    def means(self, add_up: Callable[[Tensor], Tensor], device: torch.device) -> dict[str, Any]:
        """Means over the interval and all workers, in the format of metrics.jsonl; synchronises with the device."""
        terms, notes = self._named(add_up)
        assert self.norm is not None  # an interval has one step or more
        clocks = self._clocks()
        timed = max(1, self.timed_steps)
        return {
            "seconds": clocks["seconds"],
            "images_per_second": self.images / clocks["stepping"],
            "learning_rate": self.rate,
            "gradient_norm": fetch(self.norm) / self.steps,
            "loss": sum(terms.values()),
            "terms": terms,
            "notes": notes,
            "time": {name: value / timed for name, value in self.times.items()},
            "memory": peak_memory(device),
        }

    def _named(self, add_up: Callable[[Tensor], Tensor]) -> tuple[dict[str, float], dict[str, float | list[float]]]:
        """Means of terms and notes by name, in alphabetical order."""
        sums: dict[tuple[str, str], Any] = {}
        for layout, values in self.sums.items():  # the same names in the same order on every worker
            parts = fetch(add_up(values))
            for kind, name, size in layout:
                count = 1 if size is None else size
                part, parts = np.array(parts[:count]), parts[count:]
                sums[kind, name] = sums.get((kind, name), 0.0) + (part[0] if size is None else part)
        means = {key: (value / self.steps).tolist() for key, value in sorted(sums.items())}
        terms, notes = ({name: v for (kind, name), v in means.items() if kind == field} for field in Step._fields)
        return terms, notes

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, so that a run resumed inside an interval still reports all of it."""
        plain = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return plain | self._clocks()

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue with the sums of a checkpoint, on the device."""
        state = dict(state)
        if "sums" not in state:  # version 0.1.0 stored a sum for each term and note
            earlier = Step(state.pop("terms"), state.pop("notes"))
            state["sums"] = dict([_flat(earlier)]) if earlier.terms else {}
        vars(self).update(state)
        self.sums = {layout: values.to(device) for layout, values in self.sums.items()}
        self.norm = None if self.norm is None else self.norm.to(device)


def _flat(step: Step) -> tuple[Layout, Tensor]:
    """A step's terms and notes concatenated to a single vector, and the names of its entries."""
    entries = [(kind, name, value) for kind, values in step._asdict().items() for name, value in values.items()]
    layout = tuple((kind, name, None if value.ndim == 0 else len(value)) for kind, name, value in entries)
    return layout, torch.cat([value.detach().reshape(-1) for _, _, value in entries])


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of the device's allocator; on the CPU the resident memory of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Stopwatch:
    """Times the parts of a logged step; a no-op, without synchronisation, in any other step."""

    def __init__(self, device: torch.device):
        self._device, self._on = device, False
        self._laps: dict[str, float] = {}
        self._last = self._ready = time.perf_counter()

    def start(self, on: bool) -> None:
        """A batch has arrived; the time since the end of the last step was spent waiting for it.

        A GPU's remaining work of earlier steps is not counted, as it is not part of this step.
        """
        waited = time.perf_counter() - self._ready
        self._on, self._laps = on, {"data": waited} if on else {}
        if on:
            wait_for_all(self._device)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        if self._on:
            wait_for_all(self._device)
            now = time.perf_counter()
            self._laps[name] = self._laps.get(name, 0.0) + now - self._last
            self._last = now
        self._ready = time.perf_counter()

    def stop(self) -> dict[str, float]:
        return self._laps

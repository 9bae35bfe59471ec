"""Times calls, and steps of the real training loop."""

import statistics
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import torch

from raykd.training import loop
from raykd.training.setup import Experiment
from raykd.training.update.state import State

ENDLESS = 1_000_000.0  # epochs: more than can be measured in seconds, however few steps the recipe has
WARM_UP = 3  # first calls, not counted: they allocate memory, choose algorithms and compile


def median_time(call: Callable[[], Any], seconds: float, device: torch.device) -> float:
    """The median seconds of a call that is repeated for `seconds`, at least three times after the first ones."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    for i in range(1_000_000):
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if i >= WARM_UP:
            times.append(time.perf_counter() - start)
        if len(times) >= 3 and time.perf_counter() > end:
            break
    return statistics.median(times)


def training_steps(experiment: Experiment, state: State, logged: bool = False) -> Generator[loop.Event, None, None]:
    """One event for each step of an endless run (`Progress` if logged, else `Save`), and for ends of intervals."""
    recipe = replace(experiment.recipe, log_every=1 if logged else 2**31, epochs=ENDLESS)
    teachers, data = experiment.teachers, experiment.train_data
    return loop.fit(recipe, state, teachers, data, lambda d: {}, experiment.placement, lambda step: not logged)

"""How long a call takes, and steps of the real loop to time."""

import itertools
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from raykd.contract import Batch
from raykd.recipe import Recipe
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.training import loop
from raykd.training.state import State

ENDLESS = 1_000_000.0  # epochs: more than can be measured in seconds, however few steps the recipe has
WARM = 3  # first steps, which allocate, choose algorithms and compile, are timed apart


def often(call: Callable[[], Any], seconds: float, device: torch.device) -> float:
    """The median time of a call that is repeated for some seconds, at least three times."""
    return statistics.median(in_turns([call], seconds, device)[0])


def in_turns(calls: Sequence[Callable[[], Any]], seconds: float, device: torch.device) -> list[list[float]]:
    """The times of calls that are repeated one after another for some seconds, at least three times."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    for i in range(1_000_000):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if i >= WARM:
                found.append(time.perf_counter() - start)
        if len(times[0]) >= 3 and time.perf_counter() > end:
            break
    return times


class OneBatch:
    """A loader whose every batch is the same and takes no time."""

    def __init__(self, batch: Batch, size: int, classes: int):
        self.batch, self.size, self.classes = batch, size, classes

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        return itertools.repeat(self.batch, stop - start)


def events(
    recipe: Recipe, state: State, teachers: Sequence[FrozenTeacher], data: Any, device: torch.device
) -> Generator[loop.Event, None, None]:
    """One event for each step, but for the rare ends of an interval, and none of logging."""
    recipe = replace(recipe, log_every=2**31, epochs=ENDLESS)
    return loop.fit(recipe, state, teachers, data, lambda d: {}, device, lambda step: True)

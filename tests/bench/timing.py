"""A and B in turns: medians of wall-clock and CPU time, and their ratios, in one run."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch


@dataclass(frozen=True)
class Timed:
    """Seconds of one call, by repetition; cpu counts all threads of this process."""

    wall: list[float]
    cpu: list[float]

    @property
    def milliseconds(self) -> float:
        return 1e3 * statistics.median(self.wall)


Clock = Callable[[], tuple[float, float]]


def in_turns(calls: dict[str, Callable[[], object]], repetitions: int, warm: int = 2) -> dict[str, Timed]:
    """Time the calls alternately, so that other load on the machine slows down all of them."""
    return clocks_in_turns({name: partial(_clock, call) for name, call in calls.items()}, repetitions, warm)


def clocks_in_turns(clocks: dict[str, Clock], repetitions: int, warm: int = 2) -> dict[str, Timed]:
    """As in_turns, for clocks: each does its work once and returns its wall-clock seconds and CPU seconds."""
    found = {name: Timed([], []) for name in clocks}
    for i in range(warm + repetitions):
        for name, clock in clocks.items():
            wall, cpu = clock()
            if i >= warm:
                found[name].wall.append(wall)
                found[name].cpu.append(cpu)
    return found


def _clock(call: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


class Process:
    """A separate process for one side of a comparison, whose settings and memory don't affect the other side.

    start: called there first; it must be a module-level function, as must be everything that is built there.
    """

    def __init__(self, start: Callable[[], object]):
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=start)

    def build(self, threads: int, make: Callable[..., Callable[[], object]], *arguments: Any) -> Clock:
        """A clock for make(*arguments), which is called there, with this number of PyTorch threads."""
        number = self.pool.submit(_build, threads, make, arguments).result()
        return lambda: self.pool.submit(_time, number).result()

    def clear(self) -> None:
        """Delete everything that was built."""
        self.pool.submit(_built.clear).result()

    def close(self) -> None:
        self.pool.shutdown()


_built: list[Callable[[], object]] = []  # in a Process's process


def _build(threads: int, make: Callable[..., Callable[[], object]], arguments: tuple) -> int:
    torch.set_num_threads(threads)
    _built.append(make(*arguments))
    return len(_built) - 1


def _time(number: int) -> tuple[float, float]:
    return _clock(_built[number])


def ratio(slow: Timed, fast: Timed) -> dict[str, float | str]:
    """The speed-up: the ratio of the medians, of wall-clock and CPU time, and the interquartile range of the former."""
    pairs = sorted(a / b for a, b in zip(slow.wall, fast.wall))
    low, _, high = statistics.quantiles(pairs, n=4)
    return {
        "times faster": statistics.median(slow.wall) / statistics.median(fast.wall),
        "in CPU time": statistics.median(slow.cpu) / statistics.median(fast.cpu),
        "middle half": f"{low:.2f}-{high:.2f}",
    }


@contextmanager
def threads(count: int):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

"""A and B in turns: medians of wall-clock and CPU time, and their ratios, in one run."""

import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timed:
    """Seconds of one call, by repetition; cpu counts all threads of this process."""

    wall: list[float]
    cpu: list[float]

    @property
    def milliseconds(self) -> float:
        return 1e3 * statistics.median(self.wall)


def in_turns(calls: dict[str, Callable[[], object]], repetitions: int, warm: int = 2) -> dict[str, Timed]:
    """Time the calls one after another, again and again, so that whatever else runs here slows all of them."""
    found = {name: Timed([], []) for name in calls}
    for i in range(warm + repetitions):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if i >= warm:
                found[name].wall.append(time.perf_counter() - wall)
                found[name].cpu.append(time.process_time() - cpu)
    return found


def ratio(slow: Timed, fast: Timed) -> dict[str, float | str]:
    """How many times faster: the medians' ratio, of wall clock and of CPU time, and the wall clock's middle half."""
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

"""Graceful shutdown: a signal to the driver, a checkpoint by rank 0, then the end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class StopRequested(Exception):
    """The run has stopped on request, with a checkpoint at `step`."""

    def __init__(self, step: int):
        super().__init__(f"stopped at step {step}")
        self.step = step


class Interrupted(KeyboardInterrupt):
    """A signal, such as SIGINT, stopped the run gracefully."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class Caught:
    event: threading.Event
    number: int = 0
    count: int = 0


@contextmanager
def at_once() -> Iterator[None]:
    """Context that handles SIGTERM as Ctrl-C, for work that has no checkpoint to save."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: Any) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals() -> Iterator[Caught]:
    """Context that turns SIGINT and SIGTERM into an event; in the main thread only."""
    caught = Caught(threading.Event())
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def catch(number: int, frame: Any) -> None:
        caught.number, caught.count = number, caught.count + 1
        caught.event.set()

    before = {number: signal.signal(number, catch) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

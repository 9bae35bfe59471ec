"""Graceful shutdown: a signal to the driver, a checkpoint by rank 0, then the end."""

import signal
import threading
from collections.abc import Callable, Iterator
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
    """The signals that have arrived so far."""

    event: threading.Event
    number: int = 0
    count: int = 0


@contextmanager
def handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Context in which SIGINT and SIGTERM call `handler`; outside the main thread, which gets the signals, a no-op."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


@contextmanager
def at_once() -> Iterator[None]:
    """Context that handles SIGTERM as Ctrl-C, for work that has no checkpoint to save."""

    def end(number: int, frame: Any) -> None:
        raise Interrupted(number)

    with handling(end):
        yield


@contextmanager
def signals() -> Iterator[Caught]:
    """Context that turns SIGINT and SIGTERM into an event."""
    caught = Caught(threading.Event())

    def catch(number: int, frame: Any) -> None:
        caught.number, caught.count = number, caught.count + 1
        caught.event.set()

    with handling(catch):
        yield caught

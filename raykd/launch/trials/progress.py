"""Progress display of parallel trials: a live table in a terminal, plain lines in a log, and what they wait for."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.progress_reporter import TrialProgressCallback
from rich.console import RenderableType
from rich.live import Live

from raykd.launch.cluster import capacity
from raykd.recipe import Recipe
from raykd.terminal import Terminal, redraws


class LiveTable(Callback):
    """A Tune callback with a live table in a terminal, lines in a log; subclasses give the `table`."""

    def __init__(self, console: Terminal):
        self.console, self._began = console, time.monotonic()

    def table(self) -> RenderableType:
        raise NotImplementedError

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Context in which a terminal shows the table; its last state stays."""
        if not redraws(self.console):
            yield
            return
        with Live(get_renderable=self.table, console=self.console, refresh_per_second=2):
            yield

    def print_to_log(self, line: str) -> None:
        """Print a line with the time, unless a terminal shows the table."""
        if not redraws(self.console):
            self.console.print(f"  {time.monotonic() - self._began:5.0f} s  {line}")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; these have no state to save


class WaitingMessage(Callback):
    """A Tune callback that checks every few seconds, and prints a message when it changes."""

    def __init__(self, kinds: Sequence[Recipe], console: Terminal, seconds: float = 4.0):
        self._kinds, self._console, self._seconds = kinds, console, seconds
        self._looked, self._last_line = time.monotonic(), ""

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        if time.monotonic() - self._looked < self._seconds:
            return
        training = any(map(self._is_training, trials))  # then the others wait for their turn
        line = "" if training else next(filter(None, map(capacity.waiting, self._kinds)), "")
        if line and line != self._last_line:
            self._console.print(f"  {line}")
        self._looked, self._last_line = time.monotonic(), line

    def _is_training(self, trial: Any) -> bool:
        """Whether it has its resources: a started trial with several workers may still wait for them."""
        recipe = self._kinds[trial.config["kind"] if len(self._kinds) > 1 else 0]
        return trial.status == "RUNNING" and (recipe.workers == 1 or "epoch" in trial.run_metadata.last_result)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class NoOutput(TrialProgressCallback):
    """Replaces Tune's own output, which has a line for a trial that ends without a report, whatever `verbose` is."""

    def log_result(self, trial: Any, result: dict[str, Any], error: bool = False) -> None:
        pass

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        pass


def cpus_in_use() -> str:
    have, free = ray.cluster_resources(), ray.available_resources()
    shown = [name for name in ("CPU", "GPU") if have.get(name)]
    return "  ".join(f"{have[name] - free.get(name, 0):g}/{have[name]:g} {name}s in use" for name in shown)


def error_of(trial: Any) -> str:
    """Why a trial failed, as one line; Tune stores the text in a file."""
    text = Path(trial.local_path, "error.txt")
    lines = (
        [line.strip() for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
        if text.is_file()
        else []
    )
    died = [line for line in lines if "The actor is dead because" in line]
    return (died or lines or ["its process was lost"])[-1]

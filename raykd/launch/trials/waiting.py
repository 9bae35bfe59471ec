"""A message while no trial can run: which resources they wait for, and whether nodes may still be added."""

import time
from collections.abc import Sequence
from typing import Any

from ray.tune import Callback

from raykd.launch.cluster import connection
from raykd.recipe import Recipe
from raykd.terminal import Terminal


class WaitingMessage(Callback):
    """A Tune callback that checks every few seconds, and prints a message when it changes."""

    def __init__(self, kinds: Sequence[Recipe], console: Terminal, seconds: float = 4.0):
        self._kinds, self._console, self._seconds = kinds, console, seconds
        self._looked, self._last_line = time.monotonic(), ""

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        if time.monotonic() - self._looked < self._seconds:
            return
        line = "" if self._runs(trials) else next(filter(None, map(connection.waiting, self._kinds)), "")
        if line and line != self._last_line:
            self._console.print(f"  {line}")
        self._looked, self._last_line = time.monotonic(), line

    def _runs(self, trials: list) -> bool:
        """Whether a trial trains, and the others wait for their turn; one of several workers may itself wait."""
        return all(recipe.workers == 1 for recipe in self._kinds) and any(t.status == "RUNNING" for t in trials)

    def __getstate__(self) -> dict[str, Any]:
        return {}

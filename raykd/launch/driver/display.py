"""Progress display of a run: a live bar in a terminal or notebook, plain lines in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import Progress
from rich.text import Text

from raykd.launch.driver import lines
from raykd.launch.driver.notebook import NotebookBar, in_notebook
from raykd.launch.run_state.messages import Snapshot
from raykd.recipe import Recipe
from raykd.recipe.labels import labels, method_name
from raykd.recipe.serial import to_dict
from raykd.terminal import Terminal, redraws

WARNING = "warning: "


class Display:
    """Shows the progress of one run at a time."""

    def __init__(self, console: Terminal):
        self.console = console
        self._seen_epoch, self._phase, self._last_line = -1.0, "", ""
        self._told: set[str | tuple[str, str]] = set()
        self._bar: Progress | NotebookBar | None = None
        self._task: Any = None

    @contextmanager
    def run(self, name: str, recipe: Recipe) -> Iterator[None]:
        """Context in which `show` displays this run."""
        self._seen_epoch, self._phase, self._began = -1.0, "", time.monotonic()
        self.console.print(Text.assemble((name, "bold"), f": {_what(recipe)}"))
        if in_notebook() and not self.console.quiet:
            with NotebookBar() as self._bar:
                yield
            self._bar = None
            return
        if not redraws(self.console):
            yield
            return
        with Progress(*lines.columns(self.console.width), console=self.console, transient=True) as self._bar:
            starting = "starting workers" if recipe.workers else "starting"
            self._task = self._bar.add_task(starting, total=None, values="")
            yield
        self._bar = None

    def log(self, line: str) -> None:
        """Print a line unless it repeats the one before; empty: nothing."""
        if line and line != self._last_line:
            self.console.print(f"  {time.monotonic() - self._began:4.0f} s  {line}")
        self._last_line = line

    def note(self, line: str) -> None:
        """Print a line that matters, once."""
        if line not in self._told:
            self._told.add(line)
            kind, text = ("warning", line.removeprefix(WARNING)) if line.startswith(WARNING) else ("note", line)
            self.console.print(Text.assemble("  ", (kind, "yellow"), f" {text}"))

    def show(self, snapshot: Snapshot) -> None:
        """Update the display from a snapshot of the run."""
        for node, line in snapshot.staging.items():
            if (node, line) not in self._told:
                self._told.add((node, line))
                self.console.print(f"  {node}: {line}")
        progress = snapshot.progress
        if progress.wandb_url and "W&B" not in self._told:
            self._told.add("W&B")
            self.console.print(f"  W&B run: {progress.wandb_url}")
        for line in (*snapshot.losses, *progress.notices):
            self.note(line)
        if progress.line is not None and progress.line["epoch"] > self._seen_epoch:
            self._seen_epoch = progress.line["epoch"]
            self.console.print(lines.epoch_line(progress.line, self._width))
        if self._bar is not None and progress.phase:
            done, steps, values = progress.step or 0, progress.steps, lines.terms(progress.values, self.console.width)
            self._bar.update(self._task, description=progress.phase, completed=done, total=steps, values=values)
        elif progress.phase not in ("", self._phase, "training", "evaluating"):
            self._phase = progress.phase
            self.console.print(f"  {time.monotonic() - self._began:4.0f} s  {self._phase}")
        if progress.stopped is not None and "stopped" not in self._told:
            self._told.add("stopped")
            self.console.print(f"  stopped at step {progress.stopped}; the same command continues from there")

    @property
    def _width(self) -> int:
        """Maximum width of a line in characters; unlimited in a log."""
        return self.console.width if self.console.is_terminal else sys.maxsize


def _what(recipe: Recipe) -> str:
    method = method_name(to_dict(recipe.method))
    data = labels(to_dict(recipe)).data
    epochs = "1 epoch" if recipe.epochs == 1 else f"{recipe.epochs:g} epochs"
    length = f"{epochs}, {_workers(recipe.workers)}, seed {recipe.seed}"
    return f"{method}, {recipe.student.name} on {data}, {length}"


def _workers(number: int | tuple[int, int]) -> str:
    if not isinstance(number, int):
        return f"{number[0]}–{number[1]} workers"
    return {0: "in this process", 1: "1 worker"}.get(number, f"{number} workers")

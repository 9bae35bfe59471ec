"""Progress display of a run: a live bar in a terminal or notebook, plain lines in a log."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from raykd.launch.driver.notebook import NotebookBar, in_notebook
from raykd.launch.run_state import messages
from raykd.launch.run_state.messages import Snapshot
from raykd.recipe import Recipe
from raykd.recipe.labels import method_name
from raykd.recipe.serial import to_dict
from raykd.terminal import Terminal


class Display:
    """Shows the progress of one run at a time."""

    def __init__(self, console: Terminal, label: str = ""):
        self.console, self._label = console, label
        self._seen_epoch, self._phase, self._said = -1.0, "", ""
        self._told: set[str | tuple[str, str]] = set()
        self._bar: Progress | NotebookBar | None = None
        self._task: Any = None

    @contextmanager
    def run(self, name: str, recipe: Recipe) -> Iterator[None]:
        """Context in which `show` displays this run."""
        self._label, self._seen_epoch, self._phase, self._began = name, -1.0, "", time.monotonic()
        self.console.print(Text.assemble((name, "bold"), f": {_what(recipe)}"))
        if in_notebook() and not self.console.quiet:
            with NotebookBar() as self._bar:
                yield
            self._bar = None
            return
        if not self.console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as self._bar:
            self._task = self._bar.add_task("starting workers", total=None, values="")
            yield
        self._bar = None

    def say(self, line: str) -> None:
        """Print a line unless it repeats the one before; empty: nothing."""
        if line and line != self._said:
            self.console.print(f"  {time.monotonic() - self._began:4.0f} s  {line}")
        self._said = line

    def note(self, line: str) -> None:
        """Print a line that matters, once."""
        if line not in self._told:
            self._told.add(line)
            self.console.print(Text.assemble("  ", ("note", "yellow"), f" {line}"))

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
            self.console.print(_epoch_line(progress.line))
        if self._bar is not None:
            self._update_bar(progress)
        elif progress.phase not in ("", self._phase, "training", "evaluating"):
            self._phase = progress.phase
            self.console.print(f"  {time.monotonic() - self._began:4.0f} s  {self._phase}")
        if progress.stopped is not None and "stopped" not in self._told:
            self._told.add("stopped")
            self.console.print(f"  stopped at step {progress.stopped}; the same command continues from there")

    def _update_bar(self, progress: messages.Progress) -> None:
        description, values = progress.phase or "starting workers", _terms(progress.values)
        if self._bar is not None:
            done, steps = progress.step or 0, progress.steps
            self._bar.update(self._task, description=description, completed=done, total=steps, values=values)


def _what(recipe: Recipe) -> str:
    method = method_name(to_dict(recipe.method))
    source = type(recipe.data.source).__name__
    workers = recipe.workers if isinstance(recipe.workers, int) else "–".join(map(str, recipe.workers))
    length = f"{recipe.epochs:g} epochs, {workers} worker(s), seed {recipe.seed}"
    return f"{method}, {recipe.student.name} on {source}, {length}"


def _terms(values: Mapping[str, Any]) -> str:
    shown = {name.removeprefix("terms/"): value for name, value in values.items() if name.startswith("terms/")}
    return "  ".join(f"{name} {value:.3g}" for name, value in shown.items())


def _epoch_line(line: Mapping[str, Any]) -> Text:
    deployed, figures = next(iter(line["evaluation"].items()))
    terms = "  ".join(f"{name} {value:.3f}" for name, value in line["terms"].items())
    others = "".join(
        f"  {name} {100 * other['top1']:.2f}" for name, other in line["evaluation"].items() if name != deployed
    )
    return Text.assemble(
        f"  epoch {round(line['epoch']):>4}  top-1 ",
        (f"{100 * figures['top1']:.2f} %", "bold"),
        f"  loss {figures['loss']:.3f}{others}  │  {terms}  │  {line['images_per_second']:.0f} images/s",
    )

"""Progress display of parallel trials: a live table in a terminal, plain lines in a log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from rich.console import RenderableType
from rich.live import Live

from raykd.terminal import Terminal


class LiveTable:
    """A live table in a terminal, nothing in a log; subclasses give the `table`."""

    console: Terminal

    def table(self) -> RenderableType:
        raise NotImplementedError

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Context in which a terminal shows the table; its last state stays."""
        if not self.console.is_terminal:
            yield
            return
        with Live(get_renderable=self.table, console=self.console, refresh_per_second=2):
            yield

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; these have no state to save


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

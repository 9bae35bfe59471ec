"""Progress in a notebook: one bar below the cell, updated in place and removed at the end."""

import html
import sys
import time
from typing import Any

SECONDS = 0.3  # between two updates: each is a message to the browser


def in_notebook() -> bool:
    """Whether output goes to a notebook cell."""
    return "ipykernel" in sys.modules and sys.modules["IPython"].get_ipython() is not None


class NotebookBar:
    """The part of rich's Progress interface that `Display` uses, for notebooks."""

    def __enter__(self) -> "NotebookBar":
        from IPython.display import HTML, display

        self._html, self._last = HTML, 0.0
        self._handle = display(HTML("starting workers"), display_id=True)
        return self

    def __exit__(self, *error: Any) -> None:
        self._handle.update(self._html(""))

    def update(self, task: Any, *, description: str, completed: int, total: int | None, values: str) -> None:
        """completed, total: steps; total None: not known yet."""
        if time.monotonic() - self._last < SECONDS:
            return
        self._last = time.monotonic()
        bar = f"<progress value={completed} max={total}></progress> {completed:,}/{total:,} " if total else ""
        self._handle.update(self._html(html.escape(description) + " " + bar + html.escape(values)))

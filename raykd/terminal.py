"""Output with tables and colours; raykd.output has what all output has in common."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from raykd.output import printable

LOG_WIDTH = 160  # a log, unlike a terminal, has no width: rich would break tables at 80


class Terminal(Console):
    """Prints text unchanged (no markup, no emoji codes, no line breaks) and tables at the available width."""

    def __init__(self, *, stderr: bool = False, width: int | None = None, quiet: bool = False):
        # In a notebook too it prints to standard output: as HTML, every line would be an output of its own.
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "force_jupyter": False}
        super().__init__(stderr=stderr, width=width, quiet=quiet, **plain)
        if width is None and not self.is_terminal:
            self.width = LOG_WIDTH

    def print(self, *parts: Any, **options: Any) -> None:
        lines = all(isinstance(part, (str, Text)) for part in parts)
        super().print(*parts, **{"soft_wrap": lines} | options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


def agreed(question: str) -> bool:
    """The user's answer to a question; False if there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    Terminal().print(f"{question} [y/N] ", end="")
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False

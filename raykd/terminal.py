"""Output with tables and colours; raykd.output has what all output has in common."""

import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from raykd.output import printable

LOG_WIDTH = 160  # a log, unlike a terminal, has no width: rich would break tables at 80
INDENT = "    "  # of the continuation of a line that is too long for a terminal


class Terminal(Console):
    """Prints text as it is (no markup, no emoji codes) and tables at the available width.

    In a terminal, lines that are too long are continued below, broken at spaces: never within a number or a path.
    With `soft_wrap=True` they are left to the terminal, as for text that another program reads.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None, quiet: bool = False):
        # In a notebook, it also prints to standard output: as HTML, every line would be a separate output.
        plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "force_jupyter": False}
        super().__init__(stderr=stderr, width=width, quiet=quiet, **plain)
        if width is None and not self.is_terminal:
            self.width = LOG_WIDTH

    def print(self, *parts: Any, **options: Any) -> None:
        lines, soft_wrap = all(isinstance(part, (str, Text)) for part in parts), options.pop("soft_wrap", False)
        if lines and self.is_terminal and not soft_wrap:
            parts = tuple(_folded(part, self.width) for part in parts)
        super().print(*parts, **{"soft_wrap": lines} | options)

    def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


def _folded(text: str | Text, width: int) -> Text:
    """The text with lines of at most `width` columns, or of one longer word."""
    lines = (Text(text) if isinstance(text, str) else text).split("\n", allow_blank=True)
    return Text("\n").join(_folded_line(line, width) if line.cell_len > width else line for line in lines)


def _folded_line(line: Text, width: int) -> Text:
    starts = [0]
    for word in re.finditer(r"\S+", line.plain):
        before, row = (line.plain[starts[-1] : end] for end in (word.start(), word.end()))
        if before.strip() and cell_len(row) > width - len(INDENT):
            starts.append(word.start())
    return Text(f"\n{INDENT}").join(line.divide(starts[1:]))


def redraws(console: Console) -> bool:
    """Whether output can be drawn again at its place: in a terminal, unless its TERM is dumb, as in Emacs."""
    return console.is_terminal and not console.is_dumb_terminal


def agreed(question: str) -> bool:
    """The user's answer to a question; False if there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    Terminal().print(f"{question} [y/N] ", end="")
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False

"""The content of a terminal while a command runs, and pictures of it.

python -m tests.documents.terminal FILE.svg TEXT COMMAND… runs a command in a terminal of 100 columns, and draws the
screen when it shows TEXT together with a progress bar.
"""

import fcntl
import io
import os
import pty
import struct
import sys
import termios
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyte
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

BAR = "━"
ROWS = 200  # more than any command prints here, so that nothing scrolls away


def screens(command: Sequence[str], columns: int, folder: Path) -> Iterator[pyte.Screen]:
    """The screen after each output of a command; ends with the command."""
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.pop("COLUMNS", None)
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    while True:
        try:
            output = os.read(terminal, 65536)
        except OSError:  # raised by Linux when the other end is closed
            break
        if not output:
            break
        stream.feed(output)
        yield screen
    os.close(terminal)
    os.waitpid(child, 0)


def shown(screen: pyte.Screen) -> list[str]:
    """The lines of a screen up to the last one with text."""
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def coloured(screen: pyte.Screen) -> Text:
    """The screen's text with its colours."""
    rows = []
    for y, line in enumerate(shown(screen)):
        row = Text(end="")
        for x in range(len(line)):
            row.append(screen.buffer[y][x].data, style(screen.buffer[y][x]))
        rows.append(row)
    return Text("\n").join(rows)


def style(char: Char) -> Style:
    names = {"default": None, "brown": "yellow"}
    colour = names.get(char.fg, char.fg.replace("bright", "bright_"))
    if colour is not None and len(colour) == 6 and all(digit in "0123456789abcdef" for digit in colour):
        colour = f"#{colour}"
    return Style(color=colour, bold=char.bold)


def picture(text: Text, title: str, columns: int) -> str:
    """An SVG of a terminal."""
    console = Console(record=True, width=columns, file=io.StringIO())
    console.print(text, no_wrap=True, crop=True)
    return console.export_svg(title=title)


def main(file: str, wanted: str, *command: str) -> None:
    found = None
    for screen in screens(command, 100, Path.cwd()):
        text = "\n".join(shown(screen))
        if found is None and wanted in text and BAR in text:
            found = coloured(screen)
    if found is None:
        raise SystemExit(f"no screen showed {wanted!r} and a progress bar")
    Path(file).write_text(picture(found, " ".join(command[:3]), 100))


if __name__ == "__main__":
    main(*sys.argv[1:])

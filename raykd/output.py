"""Everything that raykd prints passes here: output never ends a run, and text from files never steers a terminal.

A leaf: it imports nothing of raykd, and nothing heavy; tables and colours are in raykd.terminal.
"""

import contextlib
import io
import os
import re
import sys
from typing import Any

CREDENTIALS = re.compile(r"(?<=://)[^/\s@?#]+@")
SECRETS = re.compile(r"(?i)(?<=[?&])((?:\w+[-_])?(?:key|secret|token|password|signature|sig)=)[^&\s]+")
STEERING = [*range(9), *range(11, 32), *range(127, 160)]  # control characters but tab and newline
STEERING += [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # what turns the direction of text around
SHOWN = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in STEERING}


def masked(text: str) -> str:
    """Text without the credentials of the URIs in it."""
    return SECRETS.sub(r"\1***", CREDENTIALS.sub("***@", text))


def printable(text: str) -> str:
    """Text as it may be shown: control characters in words, credentials masked."""
    return masked(text).translate(SHOWN)


def complain(line: str) -> None:
    """One line on standard error."""
    print(printable(f"raykd: {' '.join(line.split())}"), file=sys.stderr)


class Lossy(io.FileIO):
    """Output that is lost where it can't be written: to a closed pipe, a full disk, a terminal that is gone."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def open_streams() -> None:
    """Give this process an output that takes everything; to be called once, before anything else opens a file.

    A stream that is closed would otherwise give its number to the next file, and what is printed would go there.
    """
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = _stream(1, sys.stdout), _stream(2, sys.stderr)


def _stream(number: int, before: Any) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", None) or "utf-8"
    unknown = "backslashreplace" if encoding.lower().replace("-", "") == "utf8" else "replace"
    raw = Lossy(number, "w", closefd=False)
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding, unknown, line_buffering=number == 2 or raw.isatty())

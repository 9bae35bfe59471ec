"""All output goes through this module: it never ends a run, and text from files never controls a terminal.

It imports nothing of raykd and nothing heavy; tables and colours are in raykd.terminal.
"""

import contextlib
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import Any

# User and password of a URI. A password may contain an unquoted "/", as S3 keys do; a port before a path is not one.
CREDENTIALS = re.compile(r"""(?<=://)(?:[^/\s?#]+|[^/\s?#@:]+:(?!\d{1,5}[/?#])[^\s@"'<>]{0,200})@""")
SECRET = r"(?i)(?<=[?&])([\w.-]*(?:key|secret|token|passw(?:or)?d|pwd|signature|sig|credentials?)=)"
SECRETS = re.compile(SECRET + r"[^&\s]+")
# The same in the literal URIs of a module's text: code that puts one together has quotes, braces or signs in between.
LITERAL = re.compile(r"""://[^\s'"]+""")
PASSWORDS = re.compile(r"""(?<=\w)://[^/\s@?#'"{}+%:]+:[^/\s?#'"{}+]+@|(?:(?<=http)|(?<=https))://[^/\s@?#'"{}+%:]+@""")
LITERAL_SECRETS = re.compile(SECRET + r"(?!%[a-z(])[^&\s{}]+")
AUTHORITY = re.compile(r"[\w+.-]+://[^/\s?#]+@[^/\s?#]*")
STEERING = [*range(9), *range(11, 32), *range(127, 160)]  # control characters but tab and newline
STEERING += [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # of the direction of text
STEERING += [0x2028, 0x2029, *range(0xD800, 0xE000)]  # other ends of lines; halves of characters, which no file holds
COLOUR = re.compile(r"\x1b\[[\d;]*m")  # Ray's errors and logs have such codes
SHOWN = {code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" for code in STEERING}


def masked(text: str) -> str:
    """Text without the credentials of the URIs in it."""
    return SECRETS.sub(r"\1***", CREDENTIALS.sub("***@", text))


def masked_code(text: str) -> str:
    """A module's text without the credentials of its URIs."""
    text = LITERAL.sub(lambda uri: LITERAL_SECRETS.sub(r"\1***", uri[0]), text)
    return PASSWORDS.sub("://***@", text)


def printable(text: str) -> str:
    """Printable text: without colour codes, with escaped control characters and masked credentials."""
    return masked(COLOUR.sub("", text)).translate(SHOWN)


def one_line(text: str) -> str:
    """Printable text on one line, with single spaces."""
    return printable(" ".join(text.split()))


def message_of(error: BaseException) -> str:
    """An error's message on one line of at most 300 characters; its type if it has none."""
    return one_line(str(error))[:300] or type(error).__name__


def in_texts(change: Callable[[str], str], value: Any) -> Any:
    """Plain data with all its strings changed, including keys."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key) if isinstance(key, str) else key: in_texts(change, item) for key, item in value.items()}
    return [in_texts(change, item) for item in value] if isinstance(value, (list, tuple)) else value


def without_credentials(value: Any) -> Any:
    """Plain data without credentials, for files that others read."""
    return in_texts(masked, value)


def with_credentials_of(uri: str, value: Any) -> Any:
    """Plain data in which masked URIs of the same bucket or host as `uri` have its credentials again."""
    own = AUTHORITY.match(uri)
    if own is None:
        return value
    shown = re.compile(re.escape(masked(own[0])) + r"(?=[/?#]|$)")
    return in_texts(lambda text: shown.sub(lambda found: own[0], text, count=1) if shown.match(text) else text, value)


def complain(line: str) -> None:
    """Print one line to standard error; in a terminal, a long one is broken at spaces, never within a number."""
    text = one_line(f"raykd: {line}")
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        text = textwrap.fill(text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    print(text, file=sys.stderr)


class Lossy(io.FileIO):
    """An output stream that discards what can't be written: closed pipe, full disk, closed terminal."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def open_streams() -> None:
    """Make standard output and error never fail; must be called once, before anything else opens a file.

    Otherwise the descriptor of a closed stream would be reused by the next file, and output would go there.
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

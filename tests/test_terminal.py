"""Printed output never ends a process, never controls the terminal, and never shows a secret."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from raykd.output import Lossy, complain, masked
from raykd.terminal import Terminal

ROOT = Path(__file__).parent.parent
RAYKD = f"{sys.executable} -m raykd"
ENDS = {
    "full disk": f"{RAYKD} list recipes >/dev/full 2>/dev/full",
    "closed": f"{RAYKD} list recipes <&- >&- 2>&-",
    "pipe without a reader": f"{RAYKD} list recipes 2>&1 | true; exit ${{PIPESTATUS[0]}}",
    "help without a reader": f"{RAYKD} train recipes/digits/kd.py --help | head -1; exit ${{PIPESTATUS[0]}}",
    "usage without a reader": f"{RAYKD} --help | true; exit ${{PIPESTATUS[0]}}",
    "latin-1": f"PYTHONIOENCODING=latin-1 {RAYKD} list recipes",
    "ascii": f"LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONIOENCODING=ascii {RAYKD} list recipes",
}


class Stream(io.StringIO):
    """A text stream that is, or is not, a terminal's."""

    def __init__(self, terminal: bool):
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize("end", ENDS)
def test_failing_output_does_not_end_the_run(end):
    done = subprocess.run(["bash", "-c", ENDS[end]], cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_output_never_goes_into_a_later_opened_file(tmp_path):
    """With standard output closed, the next file would get its number."""
    code = "import os; from raykd.output import open_streams; open_streams(); f = open('file', 'w'); os.write(1, b'x')"
    subprocess.run(["bash", "-c", f'"$0" -c "{code}" >&- 2>&-', sys.executable], cwd=tmp_path, check=True)
    assert (tmp_path / "file").read_text() == ""


def test_output_resumes_when_there_is_space():
    """Output that a full disk rejects is lost; later output is not."""
    reader, writer = os.pipe()
    raw = Lossy(os.open("/dev/full", os.O_WRONLY), "w")
    stream = io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", line_buffering=True)
    stream.write("lost\n")
    os.dup2(writer, raw.fileno())
    stream.write("kept\n")
    assert os.read(reader, 100) == b"kept\n"


def shown(capsys, *parts, **options) -> str:
    Terminal().print(*parts, **options)
    return capsys.readouterr().out


def test_text_is_printed_unchanged(capsys):
    text = "[bold]a[/x] :smile: [/] " + "a long path/" * 30
    assert shown(capsys, text) == text + "\n"
    table = Table("[/x]", box=None, pad_edge=False, show_header=False)
    table.add_row("[red]a :dog:")
    assert shown(capsys, table).strip() == "[red]a :dog:"


def test_long_lines_are_broken_only_at_spaces_in_a_terminal():
    path = "/" + "a-long-folder/" * 8
    words = f"  note {path} has 285 runs, top-1 98.89 % on the test split, 1,234,567 images in all"
    console = Terminal(width=60)
    console.height = 40
    console.file, console._force_terminal = io.StringIO(), True
    console.print(words)
    console.print(words, soft_wrap=True)
    folded, _, whole = console.file.getvalue().partition("\n  note ")
    assert folded.split() + whole.split() == words.split() + words.split()[1:]
    rows = [line for line in folded.splitlines() if path not in line]
    assert rows and all(len(row.rstrip()) <= console.width for row in rows)
    assert whole.count("\n") == 1


def test_errors_are_one_line_and_wrap_at_spaces_in_a_terminal(monkeypatch):
    words = "a run of another length: epochs (1.0 / 100.0), " * 3
    for terminal in (False, True):
        monkeypatch.setattr(sys, "stderr", Stream(terminal))
        monkeypatch.setenv("COLUMNS", "60")
        complain(words)
        lines = sys.stderr.getvalue().splitlines()
        assert len(lines) == (3 if terminal else 1) and " ".join(lines).split() == ["raykd:", *words.split()]


def test_colour_codes_of_other_programs_are_removed(capsys):
    assert shown(capsys, "\x1b[36mray::f()\x1b[39m: \x1b[1;31mValueError\x1b[0m") == "ray::f(): ValueError\n"


@pytest.mark.parametrize("steering", ["\x1b[2J", "\x1b]0;title\x07", "\r", "\b", "\x9b31m", "\u202e"])
def test_control_characters_are_escaped(capsys, steering):
    out = shown(capsys, f"a{steering}b\tc\n")
    assert steering[0] not in out and out.startswith("a") and "b" in out
    table = Table("title", box=None)
    table.add_row(f"a{steering}b")
    assert steering[0] not in shown(capsys, table)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("s3://KEY:SECRET@bucket/x?region=a", "s3://***@bucket/x?region=a"),
        ("can't read s3://KEY@b: no", "can't read s3://***@b: no"),
        ("abfs://c@host/x?sig=SECRET&b=1", "abfs://***@host/x?sig=***&b=1"),
        (
            "s3://b/x?access_key=A&secret_key=SECRET&session-token=SECRET",
            "s3://b/x?access_key=***&secret_key=***&session-token=***",
        ),
        ("mail me@host, gs://bucket/a@b", "mail me@host, gs://bucket/a@b"),
        ("s3://KEY:SEC/RET@bucket/x", "s3://***@bucket/x"),
        ("https://me:SEC@RET@host/x", "https://***@host/x"),
        ("http://host:8265/x@y http://host:8265?apikey=SECRET", "http://host:8265/x@y http://host:8265?apikey=***"),
    ],
)
def test_credentials_of_uris_are_masked(capsys, text, safe):
    assert masked(text) == safe
    assert shown(capsys, text) == safe + "\n"

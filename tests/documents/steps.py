"""Converts blocks of documents to steps for tests.documents.session."""

import re
import shlex
from collections.abc import Iterator

from tests.documents.blocks import Block, complete

RAY = ("tune", "submit")  # commands that start Ray; run by slow tests, here and in tests/cluster
ITS_COMMAND = re.compile(r"^raykd ((?:train|study) \S+)$", re.MULTILINE)
HOURS = "hours"
SHORT = "--epochs 0.2 --batch-size 16 --workers 0".split()


def steps_of(block: Block) -> Iterator[dict[str, object]]:
    """The steps of a block; none if it needs something that tests don't have."""
    if block.needs not in ("", HOURS) or block.language in ("", "text", "mermaid"):
        return
    if block.language == "python":
        yield from _snippet(block)
    elif block.language in ("sh", "inline"):
        for line in block.text.splitlines():
            yield from _line(line, block)
    else:
        raise AssertionError(f"{block}: nothing runs a block of {block.language!r}")


def _line(line: str, block: Block) -> Iterator[dict[str, object]]:
    words = shlex.split(line, comments=True)
    if not words or (block.language == "inline" and not complete(line)):
        return
    if words[0] == "export":
        name, _, value = words[1].partition("=")
        yield {"kind": "export", "name": name, "value": value}
    elif words[:2] == ["raykd", "study"]:
        yield {"kind": "command", "words": _planned(words[1:])}
    elif words[0] == "raykd":
        if words[1] not in RAY and block.needs != HOURS:
            own = words[1] == "train" and words[2].endswith(".py")  # the reader's own recipe, which is not shortened
            yield {"kind": "command", "words": [*words[1:], *(_short("--teacher" in block.text) if own else ())]}
    else:
        raise AssertionError(f"{block}: {words[0]!r} is not run; say above the block what it needs")


def _snippet(block: Block) -> Iterator[dict[str, object]]:
    """A snippet is run as a file, and then the command in its docstring, with a fraction of an epoch."""
    command = ITS_COMMAND.search(block.text)
    file = command[1].split()[-1] if command else f"snippet_{block.line}.py"
    yield {"kind": "python", "file": file, "text": block.text}
    if command and command[1].startswith("study"):
        yield {"kind": "command", "words": _planned(command[1].split())}
    elif command:
        taught = "Teachers" in block.text or "digits.kd" in block.text
        yield {"kind": "command", "words": [*command[1].split(), *_short(taught)]}


def _planned(words: list[str]) -> list[str]:
    """A study without its training, which takes hours: a dry run of one row, unless it names rows."""
    options = [] if "--dry-run" in words else ["--dry-run"]
    rows = [] if "--rows" in words else ["--rows", "KD"]
    return [*words[:2], *rows, *options, *words[2:]]


def _short(taught: bool) -> list[str]:
    """Options that make a recipe short, and its teacher, if it has one."""
    teacher = [f"--teachers.sources.0.recipe.{word[2:]}" if word[0] == "-" else word for word in SHORT]
    return [*SHORT, *(teacher if taught else ())]

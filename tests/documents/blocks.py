"""Reads Markdown documents: their fenced blocks and the commands in their text, in the order of the text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = re.compile(r"<!-- needs (?P<what>[^>]+?) -->\s*\Z")
COMMAND = re.compile(r"`(raykd [^`]+)`")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|…")


@dataclass(frozen=True)
class Block:
    """A fenced block, or a command in the text (language "inline").

    `needs` is what running it takes, as in `<!-- needs a cluster -->` above a block; empty: nothing.
    """

    document: str
    line: int
    language: str
    text: str
    needs: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    below = (path for name in ("raykd", "recipes", "cluster", "tests") for path in (ROOT / name).rglob("*.md"))
    return sorted([*ROOT.glob("*.md"), *below])


def blocks(path: Path) -> list[Block]:
    """The commands and snippets of a document in order; a repeated inline command counts once."""
    text, name = path.read_text(), str(path.relative_to(ROOT))
    found: dict[int, tuple[str, str, str]] = {}
    for match in FENCE.finditer(text):
        needs = NEEDS.search(text[: match.start()])
        found[match.start()] = (match["language"], match["text"], needs["what"] if needs else "")
    for start, command in _inline(text):
        found.setdefault(start, ("inline", command, ""))
    return [Block(name, text.count("\n", 0, start) + 1, *found[start]) for start in sorted(found)]


def _inline(text: str) -> Iterator[tuple[int, str]]:
    fenced = [range(*match.span()) for match in FENCE.finditer(text)]
    seen = set()
    for match in COMMAND.finditer(text):
        if match[1] not in seen and not any(match.start() in span for span in fenced):
            seen.add(match[1])
            yield match.start(), " ".join(match[1].split())


def complete(command: str) -> bool:
    """Whether a command can be typed as it is: it has arguments, no PLACEHOLDER and no ellipsis."""
    arguments = command.removeprefix("raykd data ").removeprefix("raykd ").split()
    return len(arguments) > 1 and not PLACEHOLDER.search(command)

"""The drawing of the packages in raykd/README.md, generated from the imports.

python -m tests.documents.drawing writes it there.
"""

import re

from tests.documents.blocks import ROOT
from tests.test_rooms import imported, modules, room

README = ROOT / "raykd/README.md"
DRAWING = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVERYWHERE = {"fields", "method", "metric", "terminal", "output", "home", "__main__", "__init__", "recipes", "notebook"}
"""Not drawn: small modules that most packages import, the recipes that ship, and entry points."""


def imports() -> dict[str, set[str]]:
    """The packages that each package imports."""
    found: dict[str, set[str]] = {}
    for path in modules():
        here = found.setdefault(room(path), set())
        here |= {name.split(".")[1] for name in imported(path) if name.startswith("raykd.")}
    drawn = found.keys() - EVERYWHERE
    return {here: (there & drawn) - {here} for here, there in found.items() if here in drawn}


def reachable(start: str, arrows: dict[str, set[str]]) -> set[str]:
    """The packages that a package imports directly or indirectly."""
    direct = arrows[start]
    return direct.union(*(reachable(room, arrows) for room in direct))


def drawn() -> str:
    """The arrows as Mermaid, without those that follow from others."""
    arrows = imports()
    lines = ["graph TD"]
    for here in sorted(arrows):
        implied = set().union(*(reachable(there, arrows) for there in arrows[here]))
        lines += [f"    {here} --> {there}" for there in sorted(arrows[here] - implied)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    README.write_text(DRAWING.sub(lambda _: f"```mermaid\n{drawn()}```", README.read_text()))

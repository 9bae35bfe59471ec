"""The drawing of the packages shows the actual imports, and every package is described."""

import re

from tests.documents.drawing import DRAWING, README, drawn, imports


def test_the_drawing_shows_the_actual_imports():
    written = DRAWING.search(README.read_text())
    assert written and written[1] == drawn(), "python -m tests.documents.drawing draws it anew"


def test_every_package_is_described():
    listed = re.findall(r"^\| `(\w+)(?:\.py|/)` \|", README.read_text().split("\n## ")[1], re.MULTILINE)
    assert set(listed) == imports().keys()

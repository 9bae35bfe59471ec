"""The hash of the code of a user's classes: which edits change it."""

import importlib
import json
import sys

import pytest

from raykd.data.config import Data
from raykd.data.sources.digits import Digits
from raykd.data.sources.mixed import Mixed
from raykd.data.storage.own_code import code_of
from raykd.data.storage.prepare import prepare
from raykd.runs.data import about_data, other_data
from raykd.storage.folder import Folder

SOURCE = """
from dataclasses import dataclass

import numpy as np
from levels import LEVEL, lowest
from raykd.data.config import Source
from raykd.data.examples import Splits, from_arrays

epochs = 3  # nothing of the class names it


def images(count):
    return np.full((count, 8, 8, 3), LEVEL + lowest(), np.uint8)


@dataclass(frozen=True, kw_only=True)
class Grey(Source):
    name = "grey"

    def open(self, root, download):
        examples = from_arrays(images(4), [0, 1, 0, 1], "grey")
        return Splits(("dark", "bright"), examples, examples)
"""
LEVELS = "LEVEL, UNUSED = 7, 1\n\n\ndef lowest():\n    return 1\n"


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """The class Grey of a folder's modules, edited by replacing one text by another."""
    monkeypatch.syspath_prepend(tmp_path)

    def load(old="", new=""):
        for name, text in (("grey_source", SOURCE), ("levels", LEVELS)):
            (tmp_path / f"{name}.py").write_text(text.replace(old, new) if old else text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            return importlib.import_module("grey_source").Grey
        finally:
            sys.dont_write_bytecode = before

    yield load
    for name in ("grey_source", "levels"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("epochs = 3", "epochs = 30", True),
        ("  # nothing of the class names it", "", True),
        ("import numpy as np", "import numpy as np\nimport json", True),
        ("def lowest", "def other():\n    pass\n\n\ndef lowest", True),
        ("count, 8, 8", "count, 8, 9", False),
        ("return 1", "return 2", False),
        ("LEVEL, UNUSED = 7", "LEVEL, UNUSED = 9", False),
        ('"dark", "bright"', '"bright", "dark"', False),
    ],
)
def test_only_edits_of_what_the_class_uses_change_it(imported, old, new, same):
    assert old in SOURCE + LEVELS
    before = code_of(imported())
    assert before and (code_of(imported(old, new)) == before) is same


def test_classes_of_raykd_have_no_code():
    assert code_of(Digits, Mixed) == ""


def test_a_changed_source_is_read_again_and_a_run_of_the_earlier_one_is_not_continued(imported, tmp_path):
    """Two projects may also have sources of the same name, whose files lie below the same data.root."""

    def prepared(*edit):
        return prepare(Data(source=imported(*edit)(), image_size=8, root=str(tmp_path / "data")))

    first = prepared()
    run = Folder(tmp_path / "run")
    run.write("data.json", json.dumps(about_data(first)))
    assert other_data(run, first) == ""
    second = prepared("LEVEL, UNUSED = 7", "LEVEL, UNUSED = 99")
    assert (first.mean[0], second.mean[0]) == pytest.approx((8 / 255, 100 / 255), abs=0.5 / 255)
    assert "changed since this run started" in other_data(run, second)
    assert prepared() == first


def test_a_source_inside_another_one_counts(imported, tmp_path):
    def mixed(*edit):
        inner = imported(*edit)()
        return prepare(Data(source=Mixed(labelled=inner, unlabelled=inner), image_size=8, root=str(tmp_path)))

    assert mixed().mean[0] < 0.1 < mixed("LEVEL, UNUSED = 7", "LEVEL, UNUSED = 99").mean[0]

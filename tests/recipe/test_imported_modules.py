"""One Python process, as a notebook's, that loads recipes whose modules have equal names, or are edited meanwhile."""

import subprocess
import sys

import pytest

NETS = """
from torch import nn
from widths import WIDTH

def net(num_classes: int):
    layers = nn.Conv2d(3, WIDTH, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, num_classes)
    return nn.Sequential(*layers)
"""
RECIPE = """
from dataclasses import dataclass, replace
import nets
from raykd.models.config import Network
from raykd.recipe import Cosine
from raykd.recipes.digits.supervised import recipe as supervised

@dataclass(frozen=True, kw_only=True)
class Flat(Cosine):
    pass

recipe = replace(supervised, student=Network("nets:net"), schedule=Flat())
"""
START = """
from dataclasses import replace
from pathlib import Path
import raykd
from raykd.api.starting.plan import loaded_as
from raykd.models import create_network
from raykd.models.staged import parameters

def size(recipe):
    return parameters(create_network(recipe.student, 10, 32))

def refused(recipe, name=""):
    try:
        loaded_as(recipe, name)
    except raykd.UserError as error:
        return str(error)
    raise AssertionError("not refused")
"""
SIZES = {width: (27 + 1) * width + (width + 1) * 10 for width in (2, 4, 8)}  # of the convolution and the linear layer


@pytest.fixture
def process(tmp_path):
    """Runs code in a new process in a folder with two projects, a and b."""
    for folder, width in (("a", 2), ("b", 4)):
        (tmp_path / folder).mkdir()
        for name, text in (("nets", NETS), ("widths", f"WIDTH = {width}\n"), ("mine", RECIPE)):
            (tmp_path / folder / f"{name}.py").write_text(text)

    def run(code):
        script = START + f"SIZES = {SIZES}\n" + code
        done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
        assert not done.returncode, done.stderr

    return run


def test_two_folders_with_modules_of_one_name_are_not_mixed(process):
    process("""
first = raykd.load_recipe("a/mine.py")
assert size(first) == SIZES[2]
assert "module widths would be" in refused("b/mine.py") and "b/widths.py" in refused("b/mine.py")
assert size(raykd.load_recipe("a/mine.py")) == SIZES[2]
""")


def test_a_recipe_file_is_loaded_with_its_edited_modules(process):
    """Also if an importer of the edited one is unchanged."""
    process("""
assert size(raykd.load_recipe("a/mine.py")) == SIZES[2]
Path("a/widths.py").write_text("WIDTH = 8\\n")
again, _ = loaded_as("a/mine.py", "")
assert size(again.recipe) == SIZES[8] and again.sources["a/widths.py"] == "WIDTH = 8\\n"
""")


def test_a_recipe_made_in_python_is_refused_until_its_edited_modules_are_imported_again(process):
    process("""
import sys
sys.path.insert(0, "a")
import mine, nets, widths
recipe = replace(raykd.load_recipe("digits/supervised"), student=mine.recipe.student)
loaded_as(recipe, "one")
Path("a/widths.py").write_text("WIDTH = 8\\n")
assert "a/widths.py was edited" in refused(recipe, "two")
import importlib
importlib.reload(widths), importlib.reload(nets)
loaded_as(recipe, "two")
assert size(recipe) == SIZES[8]
importlib.reload(mine)
own = mine.recipe
loaded_as(own, "three")
importlib.reload(mine)
assert "mine has another class of that name now" in refused(own, "three")
loaded_as(mine.recipe, "three")
""")


def test_a_network_of_two_recipes_of_one_name_is_refused(process):
    """The first recipe, trained later, would get the second one's network."""
    process("""
import shutil
for folder, width in (("/c", 2), ("/d", 8)):
    Path(f".{folder}").mkdir()
    text = Path("a/nets.py").read_text().replace("from widths import WIDTH", f"WIDTH = {width}")
    recipe = Path("a/mine.py").read_text().replace("import nets", "").replace("nets:", "mine:")
    Path(f".{folder}/mine.py").write_text(text + recipe)
from os import chdir
elsewhere, here = Path("c").resolve(), Path("d").resolve()
chdir("/")
first, second = raykd.load_recipe(elsewhere / "mine.py"), raykd.load_recipe(here / "mine.py")
assert size(second) == SIZES[8]
assert "network mine:net: its recipe was loaded with" in refused(replace(first, schedule=second.schedule), "one")
loaded_as(second, "two")
""")


def test_copies_of_modules_count_as_the_same(process):
    """As a search leaves them beside its best recipe, which may be loaded in the process of the search."""
    process("""
from shutil import copytree
first = raykd.load_recipe("a/mine.py")
copytree("a", "best/source")
Path("best/search.json").write_text("{}")
Path("best/best.py").write_text("import mine\\nrecipe = mine.recipe\\n")
assert size(first) == size(raykd.load_recipe("best/best.py")) == SIZES[2]
""")

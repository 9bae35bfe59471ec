"""A network's options: plain values, in recipes, on the command line, in searches and studies."""

import json
from dataclasses import replace
from typing import Any

import pytest
from ray import tune

from raykd import UserError
from raykd.launch.search.space import read
from raykd.models import create_network
from raykd.models.config import Network
from raykd.recipe import Recipe, Search
from raykd.recipe.changes import change
from raykd.recipe.command_line import parse
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.serial import from_dict, to_dict
from raykd.recipe.study import Column, Row, Study
from raykd.recipe.study.cells import cells
from raykd.recipe.study.overrides import overridden, split
from raykd.recipe.validate import validate
from raykd.recipes.digits.supervised import recipe as digits
from raykd.runs.student import read_student, write_student
from raykd.storage.folder import Folder

CONVNEXT: dict[str, Any] = {"depths": (1, 1, 2, 1), "dims": [8, 8, 16, 16], "norm_layer": None}


def with_options(**options: Any) -> Recipe:
    return replace(digits, student=Network("timm:convnext_atto", options=options))


def from_command_line(recipe: Recipe, *arguments: str) -> dict[str, Any]:
    return dict(parse(Recipe, recipe, arguments, "raykd train", "").student.options)


def test_lists_are_the_tuples_that_they_are_after_json():
    recipe = with_options(**CONVNEXT)
    assert recipe.student.options == {"depths": (1, 1, 2, 1), "dims": (8, 8, 16, 16), "norm_layer": None}
    assert from_dict(json.loads(json.dumps(to_dict(recipe)))) == recipe
    assert fingerprint(recipe) == fingerprint(with_options(**CONVNEXT | {"depths": [1, 1, 2, 1]}))
    assert fingerprint(recipe) != fingerprint(with_options(**CONVNEXT | {"depths": (1, 2, 1, 1)}))


def test_a_deployed_student_is_built_with_them(tmp_path):
    recipe = with_options(**CONVNEXT)
    network = create_network(recipe.student, 10, 32)
    assert [len(stage.blocks) for stage in network.model.stages] == [1, 1, 2, 1]
    write_student(Folder(tmp_path), network, recipe, tuple("0123456789"))
    read, about = read_student(Folder(tmp_path))
    assert about.options == recipe.student.options == read.options
    state = network.model.state_dict()
    assert all(state[key].equal(value) for key, value in read.model.state_dict().items())


@pytest.mark.parametrize("value", [print, float("inf"), {1: 2}, (1, {2}), b"a"])
def test_values_that_json_cannot_represent_are_rejected(value):
    with pytest.raises(UserError, match="student.options: .* must be made of finite numbers, strings, booleans"):
        validate(with_options(value=value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("0.1", 0.1),
        ("1e-3", 0.001),
        ("relu", "relu"),
        ("drop-path", "drop-path"),
        ("", ""),
        ("True", True),
        ("false", False),
        ("None", None),
        ("null", None),
        ("(2, 2)", (2, 2)),
        ("[2, 2]", (2, 2)),
        ("'3'", "3"),
        ('{"rates": [0.1, null]}', {"rates": (0.1, None)}),
    ],
)
def test_the_command_line_reads_values_of_python_and_json(text, value):
    options = from_command_line(with_options(), "--student.options", "keyword", text, "width", "4")
    assert options == {"keyword": value, "width": 4} and type(options["keyword"]) is type(value)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["depths", "(2, 2"], "--student.options: give pairs of a keyword and a value"),
        (["depths"], "--student.options: give pairs of a keyword and a value"),
        (["depths", "1+2j"], "student.options: .* must be made of"),
        (["depths", "{[]: 1}"], "--student.options: give pairs"),
    ],
)
def test_other_values_on_the_command_line_are_rejected(words, says):
    with pytest.raises(UserError, match=says):
        from_command_line(with_options(), "--student.options", *words)


def test_each_keyword_of_a_recipe_is_an_option():
    recipe = with_options(depths=(1, 1), norm=None, more={"a": 1}, deep=True, width=4, rate=0.5)
    changes = ["depths", "[3]", "norm", "layer", "more", "{'b': 2}", "rate", "1", "width", "5"]
    words = [f"--student.options.{word}" if i % 2 == 0 else word for i, word in enumerate(changes)]
    changed = {"depths": (3,), "norm": "layer", "more": {"b": 2}, "deep": False, "width": 5, "rate": 1.0}
    assert from_command_line(recipe, *words, "--student.options.no-deep") == changed
    with pytest.raises(UserError, match=r"--student.options.depths: \(3 is not a value of Python or JSON"):
        from_command_line(recipe, "--student.options.depths", "(3")


def test_searches_change_keywords():
    search = Search(samples=1, space={"student.options.depths": tune.grid_search([(1, 1, 1, 1), (2, 2, 2, 2)])})
    space = read(search)
    chosen = [space.overrides(space.random_pick(0, number)) for number in range(2)]
    depths = [change(with_options(width=4), each).student.options for each in chosen]
    assert depths == [{"width": 4, "depths": (1, 1, 1, 1)}, {"width": 4, "depths": (2, 2, 2, 2)}]
    with pytest.raises(UserError, match="student.options.width: 'wide' is not of type int"):
        change(with_options(width=4), {"student.options.width": "wide"})


def test_studies_change_keywords():
    recipe = with_options(depths=(1, 1, 1, 1), drop_path_rate=0.0)
    rows = tuple(Row(name=name, method=recipe.method, teachers=0) for name in "ab")
    study = Study(rows=rows, columns=(Column(name="c", recipe=recipe),))
    words = ["--student.options.depths", "(2, 2)", "--row", "b", "--student.options.drop-path-rate", "0.2"]
    _, overrides = split(words, set())
    a, b = (cell.recipe.student.options for cell in overridden(cells(study), study, overrides))
    assert a == {"depths": (2, 2), "drop_path_rate": 0.0} and b == {"depths": (2, 2), "drop_path_rate": 0.2}

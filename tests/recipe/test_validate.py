"""Ranges of recipe fields: every number has one; values outside are rejected by name."""

import dataclasses
import math
import re
import typing

import pytest

from raykd import UserError
from raykd.commands import data, teach, train, tune
from raykd.data import mixing, transforms
from raykd.data.config import Data, Encoding, Mixing, Transform
from raykd.methods.kd import KD
from raykd.recipe import Optimizer, Recipe, Schedule, Search, Shampoo, Simplex, Steps, Teacher, Teachers, Train
from raykd.recipe.changes import change
from raykd.recipe.files.load import load
from raykd.recipe.validate import validate
from raykd.recipes.digits.kd import recipe as kd
from raykd.recipes.digits.supervised import recipe as supervised


def classes(of: type) -> set[type]:
    return {of}.union(*(classes(below) for below in of.__subclasses__()))


def methods() -> list[type]:
    import importlib
    import pkgutil

    import raykd.methods
    from raykd.method import MethodConfig

    for module in pkgutil.walk_packages(raykd.methods.__path__, "raykd.methods."):
        importlib.import_module(module.name)
    return sorted((cls for cls in classes(MethodConfig) if cls.__module__.startswith("raykd.")), key=str)


SECTIONS = [Recipe, Data, Encoding, Teachers, Search, Simplex, *methods()]
for base in (Optimizer, Schedule, Teacher, Transform, Mixing):
    SECTIONS += sorted((cls for cls in classes(base) if cls.__module__.startswith("raykd.")), key=str)


def plain(kind) -> str:
    """An annotation without the arguments of Annotated[…]."""
    return re.sub(r"Annotated\[[^]]*(\[[^]]*\])*[^]]*\]", "", repr(kind))


@pytest.mark.parametrize("section", SECTIONS, ids=lambda cls: cls.__qualname__)
def test_every_number_has_a_range(section):
    """A bare float may be any float and a bare int any integer, so a field must state its range."""
    hints = typing.get_type_hints(section, include_extras=True)
    for field in dataclasses.fields(section):
        words = re.findall(r"\w+", plain(hints[field.name]))
        assert not {"int", "float"} & set(words), f"{section.__qualname__}.{field.name} has no range"


def absurd(kind):
    """Invalid values of a field."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return absurd(arguments[0])
    if kind is float:
        return [math.nan, math.inf, -math.inf, 1e308, 5e-324, -1e30]
    if kind is int:
        return [2**31, 2**63, 10**30, -(2**31), -(10**30)]
    if origin is tuple and arguments:
        one = absurd(arguments[0])
        count = 1 if arguments[-1] is Ellipsis else len(arguments)
        return [(value,) * count for value in one]
    return []


def numbers(settings, where=()):
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from numbers(value, (*where, field.name))
        for other in absurd(hints[field.name]):
            yield (*where, field.name), other


def put(settings, path, value):
    inner = value if len(path) == 1 else put(getattr(settings, path[0]), path[1:], value)
    return dataclasses.replace(settings, **{path[0]: inner})


WHOLE = [kd, dataclasses.replace(supervised, optimizer=Shampoo()), dataclasses.replace(supervised, schedule=Steps())]


@pytest.mark.parametrize("recipe", WHOLE, ids=["kd", "shampoo", "steps"])
def test_out_of_range_numbers_are_rejected_by_name(recipe):
    validate(recipe)
    cases = list(numbers(recipe))
    assert len(cases) > 100
    for path, value in cases:
        if path[-1] == "seed" and value == 2**31:  # a seed like any other
            continue
        with pytest.raises(UserError, match=rf"^{re.escape('.'.join(path))}(\.\d)?: .* must be "):
            validate(put(recipe, path, value))


CASES = [
    (kd, "schedule.final", -1.0, "schedule.final: -1.0 must be from 0 to 1"),
    (kd, "method", KD.Config(alpha=-1.0), "method.alpha: -1.0 must be at least 0"),
    (kd, "data.train", (transforms.RandomCrop(fill=300),), "data.train.0.fill: 300 must be from 0 to 255"),
    (kd, "data.train", (transforms.RandomResizedCrop(area=(0.9, 0.1)),), "data.train.0.area: .*ascending"),
    (kd, "data.train", (transforms.RandomResizedCrop(aspect=(1.0, math.inf)),), "data.train.0.aspect.1: inf"),
    (kd, "data.train", (transforms.Cutout(side=2**63),), "data.train.0.side: 9223372036854775808 must be"),
    (kd, "data.mixing", mixing.Mixup(alpha=0.0), "data.mixing.alpha: 0.0 must be"),
    (kd, "data.encoding", Encoding(max_resolution=-1), "data.encoding.max_resolution: -1 must be"),
    (kd, "data.std", (0.0, 1.0, 1.0), "data.std.0: 0.0 must be"),
    (kd, "workers", (1, -2), "workers.1: -2 must be"),
    (kd, "accumulate", 2**31, "accumulate: 2147483648 must be"),
    (kd, "teachers", Teachers(sources=(Train(recipe=supervised, seeds=()),)), "teachers.sources.0.seeds: .* given"),
    (
        kd,
        "teachers",
        Teachers(sources=(Train(recipe=dataclasses.replace(supervised, epochs=0.0)),)),
        "teachers.sources.0.recipe.epochs: 0.0 must be above 0",
    ),
    (kd, "search", Search(space={}, samples=0), "search.samples: 0 must be"),
    (kd, "node_labels", ("a",), "node_labels.0: 'a' must be of the form KEY=VALUE"),
]


@pytest.mark.parametrize(
    ("recipe", "path", "value", "says"), CASES, ids=lambda case: case if isinstance(case, str) else ""
)
def test_an_invalid_value_is_named_with_its_range(recipe, path, value, says):
    with pytest.raises(UserError, match=f"^{says}"):
        validate(put(recipe, path.split("."), value))


def test_numbers_outside_float32_are_rejected_without_a_range():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class OfAUser(KD.Config):
        sharpness: float = 1.0

    validate(OfAUser(sharpness=-3.0))
    for value in (math.nan, math.inf, 1e300, 1e-300):
        with pytest.raises(UserError, match=r"^sharpness: .* must be a number that float32 can represent"):
            validate(OfAUser(sharpness=value))


COMMANDS = {
    "train": (train.options, ["train"], "--epochs"),
    "bench": (train.options, ["bench"], "--epochs"),
    "tune": (tune.run, [], "--epochs"),
    "teach": (teach.run, [], "--epochs"),
    "data prepare": (lambda arguments: data.run(["prepare", *arguments]), [], "--data.encoding.quality"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_validates_its_recipe(command):
    run, more, field = COMMANDS[command]
    with pytest.raises(UserError, match=rf"^{field[2:]}: .* must be "):
        run(["recipes/digits/kd.py", field, "-1"], *more)


def test_trials_of_a_search_are_validated_like_recipes():
    assert change(kd, {"method.alpha": 2.0}).method.alpha == 2.0
    with pytest.raises(UserError, match="^method.alpha: -2.0 must be"):
        change(kd, {"method.alpha": -2.0})


def test_command_line_options_are_validated_like_fields():
    with pytest.raises(UserError, match="^samples: -1 must be"):
        tune.run(["recipes/digits/search.py", "--samples", "-1"])


def test_shipped_recipes_are_valid():
    from tests.test_recipes import RECIPES

    for path in RECIPES:
        validate(load(path).recipe)

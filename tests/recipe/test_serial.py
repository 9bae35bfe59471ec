import dataclasses
import json
import subprocess
import sys

import pytest

import raykd.recipe
from raykd import UserError
from raykd.launch.teachers.plan import run_name, teacher_recipes
from raykd.methods.dkd import DKD
from raykd.methods.kd import KD
from raykd.models.config import Network
from raykd.recipe import SGD, Published, Recipe, Shampoo, Steps, Teachers, Train
from raykd.recipe.files.load import load
from raykd.recipe.fingerprint import differences, essence, fingerprint
from raykd.recipe.serial import from_dict, module_of, to_dict
from raykd.recipes.digits.kd import recipe as kd
from raykd.recipes.digits.supervised import recipe as supervised

RICH = dataclasses.replace(
    kd,
    optimizer=Shampoo(learning_rate=3e-4),
    schedule=Steps(milestones=(150, 225)),
    teachers=Teachers(sources=(Train(recipe=supervised, seeds=(0, 1, 2)),)),
    workers=(1, 4),
    published=(Published(metric="top1", value=0.7, source="a paper, table 2"),),
    student=Network(
        "timm:convnext_atto", options={"depths": (2, 2, 6, 2), "norm": None, "more": {"rates": [0.1, "a"]}}
    ),
)


@pytest.mark.parametrize("recipe", [supervised, kd, RICH], ids=["supervised", "kd", "rich"])
def test_a_recipe_survives_json(recipe):
    assert from_dict(json.loads(json.dumps(to_dict(recipe)))) == recipe


def test_sections_are_named_by_the_package_that_offers_them():
    """So that recipe.json stays readable wherever a section's module lies."""
    for name in raykd.recipe.__all__:
        offered = getattr(raykd.recipe, name)
        if dataclasses.is_dataclass(offered):
            assert f"{module_of(offered)}:{offered.__qualname__}" == f"raykd.recipe:{name}"


def test_the_fingerprint_is_the_same_in_another_process():
    code = """
from raykd.recipe.fingerprint import fingerprint
from raykd.recipes.digits.kd import recipe
print(fingerprint(recipe))"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert answer == fingerprint(kd)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 21},
        {"method": KD.Config(alpha=0.8)},
        {"method": DKD.Config()},
        {"data": dataclasses.replace(kd.data, train=())},
        {"optimizer": SGD(learning_rate=0.2)},
        {"teachers": Teachers(sources=(Train(recipe=dataclasses.replace(supervised, epochs=3)),))},
        {"teachers": Teachers(sources=(Train(recipe=supervised, seeds=(1,)),))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_settings_that_affect_the_result_change_the_fingerprint(change):
    assert fingerprint(dataclasses.replace(kd, **change)) != fingerprint(kd)


@pytest.mark.parametrize(
    "change",
    [
        {"workers": 8},
        {"log_every": 1},
        {"max_failures": 9},
        {"data": dataclasses.replace(kd.data, root="elsewhere")},
        {
            "teachers": Teachers(
                sources=(
                    dataclasses.replace(
                        kd.teachers.sources[0], recipe=dataclasses.replace(kd.teachers.sources[0].recipe, workers=1)
                    ),
                )
            )
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_settings_without_effect_do_not_change_the_fingerprint(change):
    assert fingerprint(dataclasses.replace(kd, **change)) == fingerprint(kd)


def test_differences_name_the_field_and_both_values():
    other = dataclasses.replace(kd, method=KD.Config(temperature=2.0))
    (found,) = differences(essence(kd), essence(other))
    assert "method.temperature" in found and "4.0" in found and "2.0" in found


def changed(path: str, value):
    plain = json.loads(json.dumps(to_dict(kd)))
    *parents, last = path.split(".")
    place = plain
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place[name]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return plain


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("epochs", "many", "recipe.epochs"),
        ("batch_size", 1.5, "recipe.batch_size"),
        ("batch_size", True, "recipe.batch_size"),
        ("method.temperature", None, "recipe.method.temperature"),
        ("method.unheard_of", 1, "unheard_of"),
        ("student", KeyError, "student"),
        ("method.class", "os:system", "not a MethodConfig"),
        ("method.class", "raykd.nowhere:KD", "raykd.nowhere"),
        ("method.class", "raykd.methods.kd", "module:Class"),
        ("data.mean", [0.1, 0.2], "recipe.data.mean"),
        ("precision.autocast", "float8", "recipe.precision.autocast"),
        ("teachers.sources.0.recipe.epochs", [], "recipe.teachers.sources.0.recipe.epochs"),
        ("workers", [1, 2, 3], "recipe.workers"),
    ],
)
def test_values_of_wrong_types_are_named(path, value, says):
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        from_dict(changed(path, value))


def test_the_class_must_be_a_recipe():
    with pytest.raises(UserError, match="not a Recipe"):
        from_dict(to_dict(kd.method), Recipe)


@pytest.mark.parametrize("path", ["recipes/digits/search.py", "recipes/digits/ca_mkd.py", "recipes/sweeps/okddip.py"])
def test_a_recipe_read_from_json_has_the_same_fingerprint(path):
    """Fields that are floats may be written as whole numbers, and a trial reads its recipe from JSON."""

    recipe = dataclasses.replace(load(path).recipe, search=None)
    copy = from_dict(json.loads(json.dumps(to_dict(recipe))))
    assert fingerprint(copy) == fingerprint(recipe)
    runs = [[run_name(teacher) for teacher in teacher_recipes(each)] for each in (recipe, copy)]
    assert runs[0] == runs[1]

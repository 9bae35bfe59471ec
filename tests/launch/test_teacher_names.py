"""How a recipe's trained teachers are found."""

import json
from dataclasses import replace

from raykd.launch.teachers.plan import run_in, run_name
from raykd.recipe.serial import to_dict
from raykd.recipes.digits.supervised import recipe


def test_a_teacher_named_by_an_earlier_version_is_found(tmp_path):
    """A search's trials and `raykd train` ask the same function, so both find it."""
    other = replace(recipe, seed=7)
    for name, run in (("resnet8-0123456789ab", other), ("resnet8-ba9876543210", recipe)):
        (tmp_path / "teachers" / name).mkdir(parents=True)
        (tmp_path / "teachers" / name / "recipe.json").write_text(json.dumps(to_dict(run)))
    assert run_in(str(tmp_path), recipe) == "teachers/resnet8-ba9876543210"
    assert run_in(str(tmp_path), other) == "teachers/resnet8-0123456789ab"
    unknown = replace(recipe, seed=8)
    assert run_in(str(tmp_path), unknown) == run_name(unknown)

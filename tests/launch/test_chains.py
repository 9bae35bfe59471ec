"""Teachers with teachers of their own (assistants, born-again networks), trained in order, without Ray."""

import io
import json
from pathlib import Path

from rich.console import Console

from raykd.launch.driver.display import Display
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.teachers import train as ensemble
from raykd.launch.teachers.plan import TeacherPlan
from raykd.recipe.files.load import load
from tests.support import tiny_recipe as tiny

CHAIN = """
replace(
    base,
    workers=0,
    method=KD.Config(),
    teachers=Teachers(sources=(Train(recipe=assistant, seeds=(0, 1)), Train(recipe=large))),
)
"""


def loaded(folder: Path):
    path = tiny.write(folder, "chain", CHAIN.strip(), folder / "data")
    own = (
        "from raykd.methods.kd import KD\nlarge = replace(base, workers=0, epochs=0.2, "
        "student=Network(name='resnet20'))\ntaught = Teachers(sources=(Train(recipe=large),))\nassistant = "
        "replace(large, method=KD.Config(), student=Network(name='resnet14'), teachers=taught)\nrecipe ="
    )
    path.write_text(path.read_text().replace("recipe =", own))
    return load(path)


def test_teachers_are_ordered_after_their_own_teachers(tmp_path):
    plan = TeacherPlan(str(tmp_path))
    names = plan.add(loaded(tmp_path).recipe)
    assert [name.split("-")[0] for name in names] == ["teachers/resnet14", "teachers/resnet14", "teachers/resnet20"]
    assert list(plan.missing) == [names[2], names[0], names[1]]
    assert [job.teachers for job in plan.missing.values()] == [(), (names[2],), (names[2],)]


def test_a_chain_of_teachers_is_trained_in_order_and_reused(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    text, chain = io.StringIO(), loaded(tmp_path)
    storage, display = str(tmp_path / "runs"), Display(Console(file=text, width=300))
    plan = RunPlan(loaded=chain, recipe=chain.recipe, name="chain", storage=storage, display=display)
    places = ensemble.ensure(plan)
    for place in places[:2]:
        assert json.loads((Path(place) / "teachers.json").read_text()) == [places[2]]
        assert json.loads((Path(place) / "result.json").read_text())["method"] == "KD"
    assert ensemble.ensure(plan) == places and text.getvalue().count("already trained, top-1") == 3

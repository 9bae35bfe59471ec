"""What a command line changes without an effect on the result is changed in the teachers' recipes, too."""

from dataclasses import replace

from raykd.commands import teach
from raykd.commands.train import options
from raykd.launch.teachers import fill_cache
from raykd.recipe import Checkpoint, Run, Teachers, Train, WandB
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.shared import shared_with_teachers
from raykd.recipe.study.cells import cells
from raykd.recipe.study.overrides import overridden, split
from raykd.recipe.study.table import Column, Row, Study
from raykd.recipes.digits.kd import recipe as kd
from raykd.recipes.digits.teacher import recipe as teacher


def of(recipe, *sources):
    return replace(recipe, teachers=Teachers(sources=sources))


def taught(arguments):
    recipe = options(["digits/kd", *arguments.split()], "train")[1].recipe
    return recipe, recipe.teachers.sources[0].recipe


def test_logging_places_and_resources_hold_for_the_teacher():
    recipe, own = taught(
        "--wandb.mode disabled --data.root /elsewhere --workers 0 --gpus-per-worker 1 --checkpoint.keep 1"
    )
    assert own.wandb.mode == "disabled" and own.data.root == "/elsewhere"
    assert (own.workers, own.gpus_per_worker, own.checkpoint.keep) == (0, 1, 1)
    assert fingerprint(own) == fingerprint(teacher) and fingerprint(recipe) == fingerprint(kd)


def test_what_changes_a_result_is_the_recipes_own():
    _, own = taught("--epochs 1 --seed 3 --batch-size 16 --precision.autocast bfloat16 --optimizer.learning-rate 0.5")
    assert own == teacher


def test_a_teacher_keeps_values_of_its_own():
    special = replace(teacher, workers=1, wandb=WandB(project="teachers"))
    before = of(kd, Train(recipe=special), Run(path="runs/other"))
    after = replace(before, workers=0, wandb=WandB(mode="disabled", project="mine"), checkpoint=Checkpoint(keep=9))
    one, other = shared_with_teachers(before, after).teachers.sources
    assert other == Run(path="runs/other")
    assert one.recipe == replace(
        special, wandb=WandB(mode="disabled", project="teachers"), checkpoint=Checkpoint(keep=9)
    )


def test_teachers_of_teachers_are_changed_too():
    before = of(kd, Train(recipe=of(kd, Train(recipe=teacher))))
    after = replace(before, max_failures=7)
    first = shared_with_teachers(before, after).teachers.sources[0].recipe
    assert first.max_failures == first.teachers.sources[0].recipe.max_failures == 7


def test_without_such_a_change_the_recipe_is_the_same():
    changed = replace(kd, epochs=3)
    assert shared_with_teachers(kd, changed) is changed


def test_a_studys_options_hold_for_its_teachers():
    study = Study(rows=(Row(name="KD", method=kd.method, teachers=1),), columns=(Column(name="c", recipe=kd),))
    words = "--wandb.mode disabled --row KD --workers 0".split()
    (cell,) = overridden(cells(study), study, split(words, set())[1])
    own = cell.recipe.teachers.sources[0].recipe
    assert (own.wandb.mode, own.workers) == ("disabled", 0)


def test_filling_a_cache_trains_the_same_teachers_as_the_run(monkeypatch, tmp_path):
    plans = []
    monkeypatch.setattr(fill_cache, "teach", lambda plan: plans.append(plan) or 0)
    words = ["--teachers.cache", "float16", "--wandb.mode", "disabled"]
    teach.run(["digits/kd", *words, "--storage", str(tmp_path)])
    assert plans[0].recipe == taught(" ".join(words))[0]

"""A killed and resumed run is bit-identical to an uninterrupted one."""

import random

import pytest

from tests.faults.stage import same

METHODS = ["supervised", "kd", "kd_standardized", "dkd", "dist", "funmatch", "aver_mkd", "fitnet_mkd", "ebkd", "aekd"]
METHODS += ["ca_mkd", "okddip", "one", "cl_ilr", "individual", "dml", "teskd"]
AVERAGED = "optimizer=AdamW(), ema=0.9"


def survives(stage, base, changes="", kills=2, seed=0):
    """Train without interruption, and again with SIGKILLs at random steps; compare the final states."""
    chance = random.Random(f"{base} {changes} {seed}")
    length = 0.5 if "epochs=0.5" in changes else 1.0
    deaths = tuple(sorted(length * chance.uniform(0.05, 0.9) for _ in range(kills)))
    name = f"{base}-{chance.getrandbits(32):08x}"
    undisturbed = stage.whole(base, changes)
    broken = stage.recipe(base, changes, f"deaths={deaths}")
    for _ in deaths:
        process = stage.train(broken, name)
        assert process.end() == -9, process.said
    process = stage.train(broken, name)
    assert process.end() == 0, process.said
    assert stage.json(name)["restarts"] == kills
    assert same(stage.state(name), stage.state(undisturbed)) == []
    student = [(stage.storage / n / "student.safetensors").read_bytes() for n in (name, undisturbed)]
    assert student[0] == student[1]
    whole, again = ([line["terms"] for line in lines(stage, n)] for n in (undisturbed, name))
    assert whole == again


def lines(stage, name):
    from raykd.runs import metrics_log

    return metrics_log.lines(stage.run(name))


@pytest.mark.slow
def test_a_run_killed_twice_resumes_with_gates_adamw_and_ema(stage):
    survives(stage, "one", AVERAGED)


def test_a_changed_method_is_reported_and_used(stage):
    recipe = stage.recipe("supervised", "", "deaths=(0.4,)")
    assert stage.train(recipe, "changed").end() == -9
    with open(stage.folder / "dying.py", "a") as file:
        file.write("\n# a mended bug\n")
    process = stage.train(recipe, "changed")
    assert process.end() == 0
    assert "dying.py changed since" in " ".join(process.said.split())
    assert same(stage.state("changed"), stage.state(stage.whole("supervised"))) == []


def test_a_changed_raykd_method_is_reported_until_the_next_checkpoint(tmp_path):
    from pathlib import Path

    from raykd.recipe.files.load import load
    from raykd.recipe.fingerprint import fingerprint
    from raykd.runs.changed import changed_code
    from raykd.runs.checkpoints import checkpoint
    from raykd.runs.directory import open_run
    from raykd.storage.folder import Folder

    loaded, run = load(Path(__file__).parents[2] / "recipes/digits/dkd.py"), Folder(tmp_path)
    now, then = fingerprint(loaded.recipe), "v2-0123456789ab"
    open_run(run, loaded.recipe, loaded.sources, [])
    for step, made_by in ((2, now), (4, then), (6, now)):
        checkpoint.write(run, {"step": step}, step=step, epoch=0.1, top1=None, fingerprint=made_by)
        said = changed_code(run, loaded, loaded.recipe, now)
        open_run(run, loaded.recipe, loaded.sources, [])
        assert ("raykd.methods.dkd" in said and "changed since" in said) if made_by == then else said == ""


@pytest.mark.slow
@pytest.mark.parametrize("base", METHODS)
def test_every_method_resumes_bit_for_bit(stage, base):
    survives(stage, base, "epochs=0.5" if base == "teskd" else "", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("base", ["okddip", "fitnet_mkd"])
@pytest.mark.parametrize(
    "changes", [AVERAGED, 'optimizer=SGD(clip_norm=0.1), accumulate=2, precision=Precision(autocast="bfloat16")']
)
def test_every_part_of_the_state_is_restored(stage, base, changes):
    survives(stage, base, changes, seed=2)

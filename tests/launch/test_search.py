"""Searches of tiny runs on a Ray session with two CPUs."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from raykd import UserError
from raykd.launch.driver.run_plan import RunPlan
from raykd.recipe.files.load import load
from tests.support import tiny_recipe as tiny

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def search(folder, name, expression, data, **changes):
    """Run the search of a tiny recipe; returns its result and the printed lines."""
    from raykd.launch.driver.display import Display
    from raykd.launch.search.search import search

    loaded = load(tiny.write(folder, name, expression, data))
    recipe = replace(loaded.recipe, search=replace(loaded.recipe.search, **changes))
    text = io.StringIO()
    display = Display(Console(file=text, width=400))
    plan = RunPlan(loaded=loaded, recipe=recipe, name=name, storage=str(folder / "runs"), display=display)
    found = search(plan)
    return found, text.getvalue()


def table(found):
    return list(csv.DictReader(Path(found.location, "trials.csv").read_text().splitlines()))


def idle(ray, seconds=10):
    """Whether all CPUs become free and all placement groups are removed within some seconds."""
    from raykd.launch.cluster.ray_internals import placement_groups as groups

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if ray.available_resources().get("CPU") == 2.0 and not groups():
            return True
        time.sleep(0.2)
    return False


def test_evaluations_count_as_whole_epochs():
    from raykd.launch.trials.trial import as_reported, at_end

    def at(step, batch, size, every=1, epochs=3.0):
        metrics = {"epoch": step * batch / size, "step": step, "top1": 0.5, "agreement": {}}
        heard = as_reported(metrics, every, epochs)
        assert heard["top1"] == 0.5 and "agreement" not in heard
        return heard["training_iteration"], heard["epoch"], at_end(metrics, epochs)

    assert at(21, 64, 1347) == (1, 1.0, False)  # 0.998
    assert at(5, 32, 144) == (1, 1.0, False)  # 1.11
    assert at(63, 64, 1347) == (3, 3.0, True)  # 2.99
    assert at(20, 50, 1000, every=2) == (1, 2.0, False)
    assert at(62, 50, 1000, every=2, epochs=3.1) == (2, 3.1, True)


GRID = (
    "replace(base, search=Search(samples=1, space={'method.bad': tune.grid_search(['', 'nan']), "
    "'optimizer.learning_rate, optimizer.momentum': Simplex(total=0.5)}))"
)


def test_a_grid_search_survives_failing_trials(ray, data, tmp_path):
    found, said = search(tmp_path, "tiny_grid", GRID, data)
    rows = table(found)
    assert [(row["trial"], row["method.bad"]) for row in rows] == [("0000", ""), ("0001", "nan")]
    for row in rows:
        assert float(row["optimizer.learning_rate"]) + float(row["optimizer.momentum"]) == pytest.approx(0.5)
        if row["method.bad"] == "nan":
            assert row["state"] == "failed" and "ce is not finite" in row["reason"] and row["reason"] in said
        else:
            assert row["state"] == "finished" and row["reason"] == "" and float(row["seconds"]) > 0
    best = max((row for row in rows if row["state"] == "finished"), key=lambda row: float(row["metric"]))
    summary = json.loads(Path(found.location, "search.json").read_text())
    assert (summary["best"], summary["status"]) == (best["trial"], "finished")
    assert summary["states"] == {"finished": 1, "failed": 1}
    evaluation = json.loads(Path(found.location, "trials", best["trial"], "evaluation.json").read_text())
    assert evaluation["split"] == "validation" and sum(evaluation["networks"]["student"]["per_class_count"]) < 160
    assert 0 <= summary["test"]["top1"] <= 1

    again, said = search(tmp_path, "tiny_grid", GRID, data)
    assert "0 to run" in said and again.summary.test == summary["test"]
    recipe = load(Path(found.location, "best.py")).recipe
    assert recipe.optimizer.learning_rate == float(best["optimizer.learning_rate"])
    assert recipe.data.validation == 0.0 and recipe.search is None


ASHA = (
    "replace(base, epochs=3, search=Search(samples=1, metric='loss', mode='min', "
    "space={'optimizer.learning_rate': tune.grid_search([0.05, 0.04, 1e-6, 2e-6, 3e-6])}, "
    "scheduler=ASHAScheduler(max_t=3, grace_period=1, reduction_factor=2)))"
)


def test_early_stopped_trials_free_their_resources(ray, data, tmp_path):
    found, _ = search(tmp_path, "tiny_asha", ASHA, data)
    assert idle(ray)
    states = [row["state"] for row in table(found)]
    assert len(states) == 5 and set(states) <= {"finished", "stopped"} and states.count("stopped") >= 1
    stopped = [row for row in table(found) if row["state"] == "stopped"]
    assert all(not Path(found.location, "trials", row["trial"], "result.json").exists() for row in stopped)


REPEATS = (
    "replace(base, epochs=6, patience=2, search=Search(samples=1, repeats=2, "
    "space={'optimizer.learning_rate': tune.grid_search([1e-7, 0.05])}))"
)


@pytest.mark.slow
def test_repeats_use_other_seeds_and_respect_patience(ray, data, tmp_path):
    found, _ = search(tmp_path, "tiny_repeats", REPEATS, data)
    rows, runs = table(found), [Path(found.location, "trials", f"{n:04d}") for n in range(4)]
    assert [float(row["optimizer.learning_rate"]) for row in rows] == [1e-7, 1e-7, 0.05, 0.05]
    assert [json.loads((run / "recipe.json").read_text())["seed"] for run in runs] == [0, 1, 0, 1]
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in runs]
    assert [len(each) for each in lines[:2]] == [
        3,
        3,
    ]  # nothing is learnt: the first evaluation, and two without a gain
    assert all(row["state"] == "finished" for row in rows)
    means = [sum(float(row["metric"]) for row in rows[i : i + 2]) / 2 for i in (0, 2)]
    summary = json.loads(Path(found.location, "search.json").read_text())
    assert summary["best"] == ("0002" if means[1] > means[0] else "0000")
    assert summary["best_metric"] == pytest.approx(max(means))


OPTUNA = (
    "replace(base, epochs=1, search=Search(samples=2, space={'optimizer.learning_rate': tune.loguniform(1e-3, 0.1), "
    "'method': tune.choice([Supervised.Config(), Fragile.Config()]), "
    "'method.bad': When(field='method', one_of=(Fragile.Config(),), space=tune.choice(['', 'x']))}, "
    "searcher=__import__('ray.tune.search.optuna', fromlist=['OptunaSearch']).OptunaSearch(seed=1)))"
)


@pytest.mark.slow
def test_optuna_with_conditions_resumes_with_more_samples(ray, data, tmp_path):
    pytest.importorskip("optuna")
    first, _ = search(tmp_path, "tiny_optuna", OPTUNA, data)
    before = table(first)
    second, said = search(tmp_path, "tiny_optuna", OPTUNA, data, samples=4)
    rows = table(second)
    assert "4 trials, 2 to run" in said and rows[:2] == before
    assert len({row["optimizer.learning_rate"] for row in rows}) == 4, "a seeded searcher repeated itself"
    for row in rows:
        assert row["state"] == "finished"
        assert (row["method.bad"] == "") if row["method"] == "Supervised" else True


PBT = (
    "replace(base, epochs=6, checkpoint=replace(base.checkpoint, keep=3), "
    "search=Search(samples=4, space={'optimizer.learning_rate': tune.choice([1e-5, 1e-4, 0.02, 0.05])}, "
    "scheduler=PopulationBasedTraining(time_attr='epoch', perturbation_interval=2, quantile_fraction=0.5, "
    "hyperparam_mutations={'optimizer.learning_rate': tune.loguniform(1e-3, 0.1)})))"
)


@pytest.mark.slow
def test_population_based_training_exchanges_trials(ray, data, tmp_path):
    found, _ = search(tmp_path, "tiny_pbt", PBT, data)
    assert [row["state"] for row in table(found)] == ["finished"] * 4
    swaps = list(Path(found.location, "trials").glob("*/swaps.jsonl"))
    assert swaps, "no trial took another's place"
    for path in swaps:
        last = json.loads(path.read_text().splitlines()[-1])
        recipe = json.loads((path.parent / "recipe.json").read_text())
        assert recipe["optimizer"]["learning_rate"] == last["values"]["optimizer.learning_rate"]
        epochs = [json.loads(line)["epoch"] for line in (path.parent / "metrics.jsonl").read_text().splitlines()]
        assert epochs == sorted(set(epochs)) and epochs[-1] > 5.5  # whole steps: 5.78
    assert idle(ray)


BOHB = (
    "replace(base, epochs=4, search=Search(samples=5, space={'optimizer.learning_rate': tune.loguniform(1e-4, 0.1)}, "
    "searcher=__import__('ray.tune.search.bohb', fromlist=['TuneBOHB']).TuneBOHB(seed=0), "
    "scheduler=__import__('ray.tune.schedulers', fromlist=['x']).HyperBandForBOHB(time_attr='epoch', max_t=4, "
    "reduction_factor=2)))"
)


@pytest.mark.slow
def test_bohb_runs(ray, data, tmp_path):
    pytest.importorskip("hpbandster")
    found, _ = search(tmp_path, "tiny_bohb", BOHB, data)
    states = [row["state"] for row in table(found)]
    assert len(states) == 5 and set(states) <= {"finished", "stopped"} and "finished" in states
    assert idle(ray)


NESTED = (
    "replace(base, workers=2, search=Search(samples=3, max_concurrent=4, "
    "space={{'optimizer.learning_rate': tune.loguniform(1e-3, 0.1), 'method.bad': tune.choice({bad})}}))"
)


@pytest.mark.slow
def test_two_trials_of_two_workers_share_two_cpus(ray, data, tmp_path):
    """More concurrent trials than fit, as requested by the user: they run one after the other, without deadlock."""
    found, said = search(tmp_path, "tiny_nested", NESTED.format(bad=["", ""]), data)
    assert "1 at once" in said
    assert [row["state"] for row in table(found)] == ["finished"] * 3
    result = json.loads(Path(found.location, "trials/0000/result.json").read_text())
    assert result["workers"] == 2
    assert idle(ray)


@pytest.mark.slow
def test_a_failing_distributed_trial_reports_its_reason_and_frees_its_workers(ray, data, tmp_path):
    expression = NESTED.format(bad=["nan"]).replace("samples=3", "samples=1")
    from raykd.launch.run_state.failure import RunFailed

    with pytest.raises(RunFailed, match="not finite"):
        search(tmp_path, "tiny_nested_nan", expression, data)
    assert idle(ray)


@pytest.mark.slow
def test_a_lost_process_is_retried_and_then_named(ray, data, tmp_path):
    expression = "replace(base, search=Search(samples=1, space={'method.bad': tune.grid_search(['', 'killed'])}))"
    found, _ = search(tmp_path, "tiny_killed", expression, data)
    fine, lost = table(found)
    assert fine["state"] == "finished" and lost["state"] == "failed" and lost["reason"]
    attempts = json.loads(Path(found.location, "trials/0001/attempts.json").read_text())
    assert len(attempts) == 2  # max_failures=1


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("{'method.bda': tune.uniform(0, 1)}", "method.bad"),
        ("{'optimzer.learning_rate': tune.uniform(0, 1)}", "optimizer.learning_rate"),
        ("{'batch_size': tune.uniform(1.5, 1.6)}", "batch_size: 1.5.* is not of type int"),
        ("{'batch_size': tune.choice([32, 0])}", "batch_size: 0"),
        ("{'workers': tune.choice([1, 2])}", "same for all trials"),
        ("{'data.validation': tune.uniform(0, 1)}", "same for all trials"),
        ("{'method.bad': ['', 'x']}", "is not a search space"),
        ("{'seed': When(field='epochs', one_of=(1,), space=tune.randint(0, 9))}", "not searched"),
        ("{}", "empty"),
    ],
)
def test_an_invalid_search_space_is_rejected_before_anything_starts(data, tmp_path, space, says):
    name = f"tiny_wrong_{abs(hash(space))}"
    with pytest.raises(UserError, match=says):
        search(tmp_path, name, f"replace(base, search=Search(space={space}))", data)
    assert not (tmp_path / "runs").exists()


def test_a_scheduler_that_would_end_every_trial_is_rejected(data, tmp_path):
    with pytest.raises(
        UserError, match="max_t 1 of AsyncHyperBandScheduler ends every trial before its 3 training_iterations"
    ):
        search(tmp_path, "tiny_short", ASHA.replace("max_t=3", "max_t=1"), data)


def test_an_impossible_search_is_rejected(ray, data, tmp_path):
    expression = "replace(base, workers=3, search=Search(space={'seed': tune.randint(0, 9)}))"
    with pytest.raises(UserError, match="can never run here"):
        search(tmp_path, "tiny_large", expression, data)


def test_another_search_of_the_same_name_is_rejected(ray, data, tmp_path):
    expression = "replace(base, epochs=1, search=Search(samples=1, space={'seed': tune.randint(0, 9)}))"
    search(tmp_path, "tiny_other", expression, data)
    with pytest.raises(UserError, match=r"another search.*metric \(top1, here loss\)"):
        search(tmp_path, "tiny_other", expression, data, metric="loss")


@pytest.mark.slow
def test_a_killed_search_resumes_without_repeating_trials(data, tmp_path):
    expression = (
        "replace(base, epochs=3, search=Search(samples=6, "
        "space={'optimizer.learning_rate': tune.loguniform(1e-3, 0.1)}))"
    )
    path = tiny.write(tmp_path, "tiny_driver", expression, data)
    command = [sys.executable, "-m", "raykd", "tune", str(path), "--name", "s", "--storage", str(tmp_path / "runs")]
    environment = {**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    results = lambda: {p.parent.name: p.stat().st_mtime_ns for p in (tmp_path / "runs/s/trials").glob("*/result.json")}  # noqa: E731
    until = time.monotonic() + 180
    while len(results()) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    process.kill()
    process.wait()
    time.sleep(1)
    before = results()
    assert 2 <= len(before) < 6
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    after = results()
    assert len(after) == 6 and all(after[name] == stamp for name, stamp in before.items())
    attempts = [len(json.loads((tmp_path / f"runs/s/trials/{n}/attempts.json").read_text())) for n in before]
    assert set(attempts) == {1}

"""Ensembles: metrics against NumPy, and concurrent teachers on a Ray session with two CPUs."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.teachers import ensemble_report
from raykd.recipe.changes import change
from raykd.recipe.files.load import load
from raykd.training.evaluation.ensemble import mean_of_probabilities, votes
from tests.support import tiny_recipe as tiny


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_the_ensemble_averages_probabilities():
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)) * 3
    expected = softmax(logits).mean(0)
    found = mean_of_probabilities(torch.from_numpy(logits)).exp().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_ties_of_votes_go_to_the_more_probable_class():
    chosen = np.array([[[5, 0, 0], [0, 1, 0]], [[5, 0, 0], [0, 0, 9]], [[0, 9, 0], [1, 0, 0]]], dtype=float)
    found = votes(torch.from_numpy(chosen))
    # two votes against one; a tie, in which class 2 has the highest probability
    assert found.argmax(-1).tolist() == [0, 2]
    assert found.floor().tolist() == [[2, 1, 0], [1, 1, 1]]


TEACHERS = (
    "replace(base, teachers=Teachers(sources=(Train(recipe=base, seeds=(0, 1)), "
    "Train(recipe=replace(base, student=Network(name='resnet14'), method=Fragile.Config(bad='nan')), seeds=(2,)))))"
)


def ensure(folder, name, bad, data):
    from raykd.launch.driver.display import Display
    from raykd.launch.teachers import train as ensemble

    loaded = load(tiny.write(folder, name, TEACHERS, data))
    recipe = change(loaded.recipe, {"teachers.sources.1.recipe.method.bad": bad})
    text = io.StringIO()
    display = Display(Console(file=text, width=400))
    plan = RunPlan(loaded=loaded, recipe=recipe, name=name, storage=str(folder / "runs"), display=display)
    return plan, lambda: ensemble.ensure(plan), text


@pytest.mark.slow
def test_a_failed_teacher_is_named_and_the_others_kept(ray, tmp_path):
    from raykd.launch.run_state.failure import RunFailed

    plan, run, text = ensure(tmp_path, "tiny_teachers", "nan", tmp_path / "data")
    with pytest.raises(RunFailed, match=r"1 of 3 teachers failed \(teachers/resnet14-.*not finite.*2 trained"):
        run()
    assert "2 at once" in text.getvalue()
    kept = sorted((tmp_path / "runs/teachers").glob("resnet8-*/result.json"))
    times = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == 2
    failed = [p for p in (tmp_path / "runs/teachers").glob("resnet14-*/attempts.json")]
    assert len(json.loads(failed[0].read_text())) == 1  # it would only come again

    plan, run, text = ensure(tmp_path, "tiny_teachers", "", tmp_path / "data")
    places = run()
    assert text.getvalue().count("already trained") == 2 and [path.stat().st_mtime_ns for path in kept] == times
    assert [Path(place).name.split("-")[0] for place in places] == ["resnet8", "resnet8", "resnet14"]
    plan, run, text = ensure(tmp_path, "tiny_teachers", "", tmp_path / "data")
    assert run() == places and text.getvalue().count("already trained") == 3

    found = ensemble_report.report(replace(plan, name="trio"), places)
    assert found == json.loads((tmp_path / "runs/trio/ensemble.json").read_text())
    for member, place in zip(found["members"], places):
        result = json.loads(Path(place, "result.json").read_text())
        assert member["top1"] == pytest.approx(result["top1"], abs=1e-9)
        assert member["loss"] == pytest.approx(result["loss"], rel=1e-5)
    assert set(found["vote"]) == {"top1"} and 0 <= found["mean"]["top1"] <= 1

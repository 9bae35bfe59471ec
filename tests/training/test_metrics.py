"""A user's metric from one file next to the recipe: training, evaluation, search, report."""

import contextlib
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.__main__ import main
from raykd.contract import Batch
from raykd.launch.search.setup import setup_of
from raykd.metric import Metric
from raykd.recipe import Search
from raykd.recipe.validate import validate
from raykd.recipes.digits.supervised import recipe as digits
from raykd.training.evaluation.evaluate import evaluate, figures, sums
from raykd.training.evaluation.metrics import with_built_in

FILE = '''"""Digits with Brier's score."""
from dataclasses import dataclass, replace

import torch.nn.functional as F
from raykd.metric import Metric
from raykd.recipes.digits.supervised import recipe as supervised


@dataclass(frozen=True, kw_only=True)
class Brier(Metric):
    name: str = "brier"
    format: str = ".1%"

    def per_sample(self, logits, labels):
        return (logits.softmax(1) - F.one_hot(labels, logits.shape[1])).square().sum(1)


recipe = replace(supervised, metrics=(Brier(),), epochs=1)
'''


class Brier(Metric):
    def per_sample(self, logits, labels):
        return (logits.softmax(1) - torch.nn.functional.one_hot(labels, logits.shape[1])).square().sum(1)


class Wrong(Metric):
    def per_sample(self, logits, labels):
        return logits.mean()


def test_a_metric_is_the_mean_over_samples_for_any_batch_size():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(103, 5)), rng.integers(5, size=103)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    expected = ((p - np.eye(5)[y]) ** 2).sum(1).mean()
    metrics = with_built_in((Brier(name="brier"),))
    found = figures(sums(torch.tensor(z), torch.tensor(y), [], metrics), 5, [], metrics)
    assert found.means["brier"] == pytest.approx(expected) and found.line()["brier"] == found.means["brier"]
    assert found.top1 == pytest.approx((z.argmax(1) == y).mean())

    parts = torch.tensor(z).split(40)
    batches = [Batch(part, label, label) for part, label in zip(parts, torch.tensor(y).split(40), strict=True)]
    both, _ = evaluate(lambda x: {"a": x}, batches, contextlib.nullcontext, {}, metrics=(Brier(name="brier"),))
    assert both["a"].means["brier"] == pytest.approx(expected, rel=1e-5)


def test_a_metric_must_return_one_value_per_sample():
    metrics = with_built_in((Wrong(name="wrong"),))
    with pytest.raises(UserError, match=r"metric wrong: per_sample returns \(\) for 3 images; it must return one"):
        sums(torch.zeros(3, 2), torch.tensor([0, 1, 0]), [], metrics)


@pytest.mark.parametrize(
    "metrics, message",
    [
        ((Brier(name="top1"),), "must be of different names, none of them top1"),
        ((Brier(name="a"), Brier(name="a")), "must be of different names"),
        ((Brier(name="A b"),), "must be a lower-case word"),
        ((Brier(name="a", format=".99f"),), "must be a format such as"),
    ],
)
def test_invalid_metric_names_are_rejected(metrics, message):
    with pytest.raises(UserError, match=message):
        validate(replace(digits, metrics=metrics))


def test_a_search_can_optimise_a_metric():
    from ray import tune

    wanted = Search(space={"optimizer.learning_rate": tune.uniform(0.01, 0.1)}, metric="brier", mode="min")
    recipe = replace(digits, workers=0, search=wanted)
    with pytest.raises(UserError, match="search: metric 'brier' must be one of top1, top5, loss, ece"):
        setup_of(recipe)
    assert setup_of(replace(recipe, metrics=(Brier(name="brier"),))).search.metric == "brier"


def test_a_custom_metric_appears_in_the_report(tmp_path, capsys, monkeypatch):
    (tmp_path / "with_brier.py").write_text(FILE)
    quick = ("--workers", "0", "--wandb.mode", "disabled", "--storage", str(tmp_path / "runs"), "--name", "a")
    assert main(["train", str(tmp_path / "with_brier.py"), *quick]) == 0
    run = tmp_path / "runs" / "a"
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    brier = line["evaluation"]["student"]["brier"]
    assert 0 < brier < 2 and json.loads((run / "evaluation.json").read_text())["networks"]["student"]["brier"] == brier
    capsys.readouterr()
    assert main(["eval", str(run)]) == 0 and f"{brier:.1%}" in capsys.readouterr().out
    monkeypatch.delitem(sys.modules, "with_brier")  # a report needs no code of the run's
    assert main(["report", str(run), "--out", str(tmp_path / "a.md")]) == 0
    assert f"| {brier:.1%} |" in (tmp_path / "a.md").read_text()

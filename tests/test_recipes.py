"""Every shipped recipe loads and is accepted by the command line; those on digits are trained."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from raykd.__main__ import main
from raykd.contract import Batch
from raykd.launch.driver.validate import check
from raykd.recipe import Pretrained, Recipe, Run, Train
from raykd.recipe.files.load import load
from raykd.recipe.serial import from_dict, to_dict
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.teachers.outputs import teacher_outputs
from raykd.training.setup import build_distiller

RECIPES = sorted(
    path for path in Path("recipes").rglob("*.py") if "recipe = " in path.read_text() or "\nrecipe=" in path.read_text()
)
DIGITS = [path for path in RECIPES if path.parent.name == "digits" and "search" not in path.name]
CIFAR = [path for path in RECIPES if path.parent.name in ("cifar10", "cifar100")]


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("storage")


@pytest.mark.parametrize("path", RECIPES, ids=str)
def test_a_shipped_recipe_is_valid_and_documented(path):
    loaded = load(path)
    check(loaded.recipe)
    plain = to_dict(loaded.recipe) | {"search": None}
    assert from_dict(json.loads(json.dumps(plain))) == dataclasses.replace(loaded.recipe, search=None)
    command = "raykd tune" if loaded.recipe.search is not None or "teachers" in path.stem else "raykd train"
    assert f"{command} {path.relative_to('recipes').with_suffix('')}" in loaded.docstring


@pytest.mark.parametrize("path", [DIGITS[0], CIFAR[0]], ids=str)
def test_help_shows_every_field_with_its_docstring(path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", str(path), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for said in (
        "--method.",
        "--optimizer.learning-rate",
        "Peak learning rate",
        "--workers",
        "--data.image-size",
        "--name",
    ):
        assert said in shown


@pytest.mark.parametrize("path", DIGITS, ids=lambda path: path.stem)
def test_digits_recipes_train(path, storage, monkeypatch):
    """A tenth of an epoch of each, teachers too, without Ray; the run leaves its result and its student."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    recipe = load(path).recipe
    short = ["--epochs", "0.1", "--workers", "0", "--batch-size", "32", "--storage", str(storage)]
    if recipe.initialise.epochs:
        short += ["--initialise.epochs", "0.1"]
    for i, source in enumerate(recipe.teachers.sources):
        if isinstance(source, Train):
            short += [f"--teachers.sources.{i}.recipe.epochs", "0.1", f"--teachers.sources.{i}.recipe.workers", "0"]
    assert main(["train", str(path), *short]) == 0
    run = storage / f"digits/{path.stem}"
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "finished" and (run / "student.safetensors").stat().st_size > 4 * result["parameters"]
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["loss"] == pytest.approx(sum(line["terms"].values())) and result["networks"]


def frozen(recipe: Recipe, classes: int) -> list[FrozenTeacher]:
    """Untrained replacements of a recipe's teachers: the right networks with random weights."""
    from raykd.models import create

    found = []
    for source in recipe.teachers.sources:
        assert not isinstance(source, Run), "a shipped recipe names no run of somebody's"
        network = source.network if isinstance(source, Pretrained) else source.recipe.student
        for _ in getattr(source, "seeds", (0,)):
            built = create(network.name, classes, image_size=recipe.data.image_size).eval().requires_grad_(False)
            found.append(FrozenTeacher(network.name, built, "", 0))
    return found


@pytest.mark.parametrize("path", CIFAR, ids=lambda path: path.stem)
def test_cifar_recipes_train_for_a_step(path):
    """The published experiment's own networks and method: one forward and backward pass with finite terms."""
    recipe = load(path).recipe
    teachers = frozen(recipe, 100)
    distiller = build_distiller(recipe, teachers, 100, seed=0)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, torch.tensor([3, 99]), torch.arange(2))
    outputs = teacher_outputs(
        teachers, distiller.teacher_features, images, lambda: torch.autocast("cpu", enabled=False)
    )
    step = distiller(batch, outputs, 30.0)
    loss = sum(step.terms.values())
    loss.backward()
    assert torch.isfinite(loss) and all(p.grad is not None for p in distiller.networks().popitem()[1].parameters())

"""User code in one file next to a recipe trains, and is sent with jobs, like raykd's own parts."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as F

from raykd import UserError
from raykd.__main__ import main
from raykd.contract import Placement
from raykd.data import order
from raykd.data.loader import TrainLoader
from raykd.data.storage.prepare import prepare
from raykd.data.transforms import Operation
from raykd.methods.supervised import Supervised
from raykd.recipe import Optimizer, Recipe
from raykd.recipe.files.load import load
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.serial import to_dict
from raykd.recipes.digits.supervised import recipe as digits
from raykd.training.update import optim

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.py"))
TRAINED = [path for path in EXAMPLES if path.stem != "own_method"]  # whose teacher would be trained first, with Ray

# On a machine that has the sources and the recipe as plain data, and nothing else.
ELSEWHERE = """
import json, sys
from pathlib import Path
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.files.sources import materialize
from raykd.recipe.serial import from_dict
job = json.loads(Path("job.json").read_text())
materialize(job["sources"], Path("source"))
print(fingerprint(from_dict(job["recipe"])))
"""


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Copies an example to its own folder, like a user's file, and loads it there."""
    known = {path.stem for path in EXAMPLES}
    monkeypatch.setattr(sys, "path", [*sys.path])

    def copy(name: str, *changed: tuple[str, str]):
        for module in known & set(sys.modules):
            del sys.modules[module]
        text = (Path(__file__).parent / "examples" / f"{name}.py").read_text()
        for old, new in changed:
            assert old in text
            text = text.replace(old, new)
        folder = tmp_path / (name + "-changed" * len(changed))
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text)
        return load(folder / f"{name}.py")

    yield copy
    for module in known & set(sys.modules):
        del sys.modules[module]


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_an_example_file_trains_and_is_evaluated(path, tmp_path, capsys, example):
    loaded = example(path.stem)
    quick = ("--epochs", "0.2", "--workers", "0", "--wandb.mode", "disabled", "--storage", str(tmp_path / "runs"))
    assert main(["train", str(loaded.path), *quick, "--name", "own"]) == 0
    assert main(["eval", str(tmp_path / "runs" / "own"), "--trust-source"]) == 0
    assert json.loads((tmp_path / "runs" / "own" / "result.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_file_is_sent_with_a_job(path, tmp_path, example):
    loaded = example(path.stem)
    assert f"{path.stem}.py" in loaded.sources
    there = tmp_path / "elsewhere"
    there.mkdir()
    (there / "job.json").write_text(json.dumps({"sources": loaded.sources, "recipe": to_dict(loaded.recipe)}))
    run = subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=there, capture_output=True, text=True, timeout=120)
    assert run.stdout.strip() == fingerprint(loaded.recipe), run.stderr


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("own_optimizer", "sign_()", "sign_().mul_(2)"),
        ("own_schedule", "total - step", "total - step + 1"),
        ("own_augmentation", "255.999", "255.5"),
        ("own_source", "seed=1", "seed=2"),
        ("own_method", ".abs()", ".square()"),
        ("own_network", "nn.ReLU())\n        self.two", "nn.SiLU())\n        self.two"),
    ],
)
def test_changed_code_changes_the_fingerprint(name, old, new, example):
    assert fingerprint(example(name).recipe) != fingerprint(example(name, (old, new)).recipe)


def test_a_metric_does_not_change_the_result(example):
    assert fingerprint(example("own_metric").recipe) == fingerprint(digits)


def test_recipes_with_only_raykds_classes_have_no_user_code(example):
    """So existing teachers are still found: their fingerprints are unchanged."""
    from raykd.recipe.fingerprint import essence

    assert "own" not in essence(digits) and "own" in essence(example("own_optimizer").recipe)


def test_an_own_optimizer_follows_its_formula(example):
    config = replace(example("own_optimizer").recipe.optimizer, learning_rate=0.01, weight_decay=0.5)
    module = torch.nn.Linear(3, 2, bias=False)
    optimizer = optim.build(config, module)
    weight, average = module.weight.detach().double().numpy().copy(), np.zeros((2, 3))
    rng = np.random.default_rng(0)
    for _ in range(3):
        gradient = rng.normal(size=(2, 3))
        module.weight.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        weight = weight * (1 - 0.01 * 0.5) - 0.01 * np.sign(0.9 * average + 0.1 * gradient)
        average = 0.99 * average + 0.01 * gradient
    np.testing.assert_allclose(module.weight.detach().numpy(), weight, rtol=1e-5)


def test_an_own_schedule_sets_every_steps_learning_rate(example):
    recipe = replace(example("own_schedule").recipe, epochs=10, batch_size=100)
    rates = [optim.learning_rate(recipe, step, 1000) for step in range(100)]
    expected = [step / 20 if step < 20 else min(1.0, (100 - step) / 20) for step in range(100)]
    np.testing.assert_allclose(rates, recipe.optimizer.learning_rate * np.array(expected), rtol=1e-12)


def test_an_own_augmentation_equals_torchvisions(example):
    operation = example("own_augmentation").recipe.data.train[-1]
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    gamma, ours = np.array([0.6, 1.0, 1.3, 1.5, 2.0]), images.copy()
    operation.apply(ours, gamma)
    for image, mine, power in zip(images, ours, gamma, strict=True):
        twin = F.adjust_gamma(torch.from_numpy(image).permute(2, 0, 1), power).permute(1, 2, 0).numpy()
        assert np.abs(mine.astype(int) - twin).max() <= 1
    drawn = operation.draw(order.numbers(order.keys(0, 0, np.arange(4000))[:, None], np.arange(64)), 16)
    assert 1 / 1.5 <= drawn.min() < 0.68 and 1.49 < drawn.max() <= 1.5


def batch(recipe: Recipe, engine: str) -> torch.Tensor:
    data = replace(recipe.data, loader=engine)
    loader = TrainLoader(data, prepare(data), Placement(torch.device("cpu"), 1), batch_size=8, seed=0)
    return next(iter(loader.batches(0, 1))).images.clone()


def test_both_loaders_apply_an_own_augmentation(example):
    recipe = example("own_augmentation").recipe
    ours = batch(recipe, "ffcv")
    assert torch.equal(ours, batch(recipe, "torch"))
    assert not torch.equal(ours, batch(digits, "ffcv"))


@dataclass(frozen=True, kw_only=True)
class Broken(Operation):
    def draw(self, numbers, size):
        return numbers[:, 0]

    def apply(self, images, drawn):
        raise KeyError("grain")


@dataclass(frozen=True, kw_only=True)
class Turned(type(digits.data.train[0]).__base__):  # a Transform that neither crops nor is an Operation
    degrees: float = 5.0


@pytest.mark.parametrize("engine", ["ffcv", "torch"])
def test_a_failing_augmentation_ends_the_run_and_is_named(engine):
    recipe = replace(digits, data=replace(digits.data, train=(Broken(),)))
    with pytest.raises(UserError, match=r"data.train: Broken fails: KeyError: 'grain'"):
        batch(recipe, engine)


def test_a_transform_that_is_not_an_operation_is_rejected():
    with pytest.raises(
        UserError, match="data.train: Turned is not a transform: make it a subclass of raykd.*Operation"
    ):
        batch(replace(digits, data=replace(digits.data, train=(Turned(),))), "ffcv")


def test_an_optimizer_without_build_is_rejected():
    with pytest.raises(UserError, match="optimizer: Optimizer has no `build`: write one, or use SGD, AdamW or Shampoo"):
        optim.build(Optimizer(), torch.nn.Linear(1, 1))


def test_an_own_method_trains_against_a_teacher(example):
    config = example("own_method").recipe.method
    from raykd.models import create

    torch.manual_seed(0)
    student, teacher = (create("resnet8", 10, 32) for _ in range(2))
    distiller = config.build(lambda: student, [teacher])
    from raykd.contract import Batch, Output

    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    outputs = [Output(teacher(images).detach(), {})]
    step = distiller(Batch(images, labels, labels), outputs, 0.0)
    expected = np.abs((student(images) - outputs[0].logits).detach().numpy()).mean()
    assert step.terms["kd"].item() == pytest.approx(expected, rel=1e-4)
    assert isinstance(Supervised.Config().build(lambda: student, []), Supervised)

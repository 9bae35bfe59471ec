"""Caching teacher outputs before training writes the same files, so that training runs no teacher."""

import hashlib
import io
import time
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from raykd import UserError
from raykd.data.mixing import Mixup
from raykd.launch.driver import run
from raykd.launch.driver.display import Display
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.teachers.fill_cache import teach
from raykd.recipe.changes import change
from raykd.recipe.files.load import load
from tests.support import tiny_recipe as tiny


@pytest.fixture
def setting(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    sources = "Train(recipe=replace(base, workers=0, epochs=1), seeds=(0, 1))"
    teachers = f"Teachers(sources=({sources},), cache='float32')"
    expression = f"replace(base, workers=0, method=AverMKD.Config(), epochs=2.5, teachers={teachers})"
    path = tiny.write(tmp_path, "tiny_taught", expression, tmp_path / "data")
    path.write_text(path.read_text().replace("from torch import nn", "from raykd.methods.aver_mkd import AverMKD"))
    text = io.StringIO()
    loaded, display = load(path), Display(Console(file=text, width=300))
    plan = RunPlan(loaded=loaded, recipe=loaded.recipe, name="taught", storage=str(tmp_path / "runs"), display=display)
    return plan, text


def files(root) -> dict[str, str]:
    found = root.glob("data/teachers/*/*.rows")
    return {f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def weights(setting, name: str, recipe):
    from raykd.launch.teachers import train as ensemble

    plan = replace(setting[0], recipe=recipe, name=name)
    finished = run.train(plan, ensemble.ensure(plan))
    return load_file(f"{finished.location}/student.safetensors")


def test_filling_a_cache_ahead_equals_filling_it_in_training(setting, tmp_path):
    plan, text = setting
    assert teach(plan) == 2 * 384  # ⌊2.5 · 160 / 32⌋ whole batches of 32
    assert "384 images × (resnet8 logits 40 bytes, resnet8-1 logits 40 bytes)" in text.getvalue()
    ahead = files(tmp_path)
    assert len(ahead) == 2 * 3  # teachers × passes
    read = weights(setting, "read", plan.recipe)
    assert files(tmp_path) == ahead
    elsewhere = change(plan.recipe, {"data.root": str(tmp_path / "other")})
    wrote = weights(setting, "wrote", elsewhere)
    assert all((read[name] == wrote[name]).all() for name in read)
    others = {path: path.read_bytes() for path in (tmp_path / "other").glob("teachers/*/*.rows")}
    assert len(others) == 6 and {hashlib.sha256(each).hexdigest() for each in others.values()} <= set(ahead.values())


def test_only_what_is_missing_or_damaged_is_computed(setting, tmp_path):
    plan, text = setting
    teach(plan)
    whole = files(tmp_path)
    assert teach(plan) == 0
    path = next(tmp_path.glob("data/teachers/*/000001.rows"))
    content = bytearray(path.read_bytes())
    content[10 * 48 + 20] ^= 1
    path.write_bytes(content)
    assert teach(plan) == 32
    assert f"{path} has damaged rows" in text.getvalue()
    assert files(tmp_path) == whole


def test_each_view_of_mixed_images_is_computed_once(setting, tmp_path):
    plan, _ = setting
    chosen = replace(plan.recipe, data=replace(plan.recipe.data, mixing=Mixup(), views=2), epochs=40.0)
    assert teach(replace(plan, recipe=chosen)) == 2 * 320
    assert teach(replace(plan, recipe=chosen)) == 0


def test_a_recipe_without_a_cache_is_rejected(setting):
    plan, _ = setting
    with pytest.raises(UserError, match="teachers.cache"):
        teach(replace(plan, recipe=change(plan.recipe, {"teachers.cache": "none"})))
    with pytest.raises(UserError, match="teachers.form"):
        teach(replace(plan, recipe=change(plan.recipe, {"teachers.form": "auto"})))


@pytest.mark.slow
def test_ray_tasks_write_the_same_files(ray, setting, tmp_path):
    plan, _ = setting
    teach(plan)
    here = files(tmp_path)
    there = replace(plan.recipe, workers=2, data=replace(plan.recipe.data, root=str(tmp_path / "other" / "data")))
    assert teach(replace(plan, recipe=there)) == 2 * 384
    assert files(tmp_path / "other") == here
    refused = change(there, {"data.root": str(tmp_path / "third"), "teachers.top_k": 11, "teachers.cache": "top-k"})
    with pytest.raises(UserError, match="top_k: 11"):
        teach(replace(plan, recipe=refused))


@pytest.mark.slow
def test_a_repeatedly_killed_command_writes_the_same_files(raykd, setting, tmp_path):
    plan, _ = setting
    chosen = change(plan.recipe, {"epochs": 40.0})
    teach(replace(plan, recipe=chosen))
    whole = files(tmp_path)
    other = tmp_path / "other"
    options = ["--epochs", 40, "--storage", plan.storage, "--data.root", other / "data"]
    for _ in range(10):
        begun = total_size(other)
        process = raykd.start("data", "teach", plan.loaded.path, *options)
        while process.poll() is None and total_size(other) <= begun + 2000:
            time.sleep(0.005)
        process.kill()
        process.communicate()
    assert 0 < total_size(other) < sum(path.stat().st_size for path in tmp_path.glob("data/teachers/*/*.rows"))
    raykd("data", "teach", plan.loaded.path, *options)
    assert sorted(files(other).values()) == sorted(whole.values())


def total_size(root) -> int:
    return sum(path.stat().st_size for path in root.glob("data/teachers/*/*.rows"))


@pytest.mark.slow
@pytest.mark.parametrize(("fill", "read"), [(1, 2), (2, 1)])
def test_any_number_of_workers_reads_a_cache_filled_on_ray(ray, setting, tmp_path, fill, read):
    recipe = setting[0].recipe
    live = weights(setting, f"live-{read}", change(recipe, {"workers": read, "teachers.cache": "none"}))
    weights(setting, f"fills-{fill}", change(recipe, {"workers": fill}))
    filled = files(tmp_path)
    reads = weights(setting, f"reads-{read}", change(recipe, {"workers": read}))
    assert files(tmp_path) == filled
    for name, value in live.items():
        torch.testing.assert_close(reads[name], value, rtol=1e-3, atol=1e-4)

"""A finished run is kept as it is; that its code or its data have changed since is said."""

import os

import numpy as np
import pytest
from PIL import Image

from raykd.__main__ import main

NETS = """
from torch import nn
from {module}_widths import WIDTH

def net(num_classes: int):
    return nn.Sequential(nn.Conv2d(3, WIDTH, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, num_classes))
"""
RECIPE = """
from dataclasses import replace
import {module}
from raykd.data.config import Data
from raykd.data.sources.folders import ImageFolder
from raykd.methods.kd import KD
from raykd.models.config import Network
from raykd.recipe import Teachers, Train
from raykd.recipes.digits.supervised import recipe as digits

data = Data(source=ImageFolder(path={images!r}), image_size=16, root={root!r})
alone = replace(digits, student=Network("{module}:net"), data=data, workers=0, epochs=1, batch_size=4)
recipe = replace(alone, method=KD.Config(), teachers=Teachers(sources=(Train(recipe=alone, seeds=(3,)),)))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A recipe with a network of its own, in two modules, and a folder of images."""
    module = f"nets_{os.path.basename(tmp_path)}"
    for split in ("train", "val"):
        for name, level in (("dark", 40), ("bright", 200)):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for i in range(3):
                pixels = np.full((16, 16, 3), level + i + 10 * (split == "val"), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{i}.png")
    places = {"images": str(tmp_path / "images"), "root": str(tmp_path / "data"), "module": module}
    (tmp_path / f"{module}.py").write_text(NETS.format(module=module))
    (tmp_path / f"{module}_widths.py").write_text("WIDTH = 4\n")
    (tmp_path / f"{module}_recipe.py").write_text(RECIPE.format(**places))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return module


def test_changes_since_a_run_was_trained_are_said_and_its_files_are_kept(project, tmp_path, capsys):
    def train(name):
        assert main(["train", f"{project}_recipe.py", "--name", name]) == 0
        return "".join(capsys.readouterr().out.split())  # long lines are broken somewhere

    train("one")
    files = {path: path.read_bytes() for path in (tmp_path / "runs/one").rglob("*") if path.is_file()}
    assert "changedsince" not in train("one")
    (tmp_path / f"{project}_widths.py").write_text("WIDTH = 4  # as before\n")
    said = train("one")
    assert f"{project}_widths.pychangedsince" in said and "thedata" not in said
    Image.new("RGB", (16, 16)).save(tmp_path / "images/train/dark/new.png")
    assert f"{project}_widths.pyandthedatachangedsince{tmp_path}/runs/onewastrained" in train("one")
    assert {path: path.read_bytes() for path in files} == files
    assert "thedatachangedsinceteachers/" in train("two")

"""Trials and cells side by side on one Ray session of two CPUs share one cache while they fill it."""

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from raykd.launch.driver.display import Display
from raykd.launch.search.search import search
from raykd.recipe.load import load
from tests.support import tiny_recipe as tiny

STEPS = 2 * 144 // 32  # of a trial: two passes over what validation leaves of 160 images

# Written into the recipe's file, which every trial imports: a line for each pass of a teacher in training.
COUNTED = """
import os
import zlib

from raykd.methods.kd import KD
from raykd.teachers.frozen_teacher import FrozenTeacher

plain = FrozenTeacher.output


def counted(teacher, images, features):
    with open({log!r}, "a") as log:
        log.write(f"{{os.getpid()}} {{zlib.crc32(images.contiguous().numpy())}}\\n")
    return plain(teacher, images, features)


FrozenTeacher.output = counted
"""


@pytest.fixture
def trials(ray, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")

    def run(kind: str) -> tuple[list[str], list[list[dict]]]:
        """Passes of the teacher, and each trial's evaluations, of a search of two trials at once."""
        teachers = f"Teachers(sources=(Train(recipe=replace(base, workers=0, epochs=1)),), cache={kind!r})"
        space = "{'optimizer.learning_rate': tune.grid_search([0.05, 0.02])}"
        expression = (
            f"replace(base, method=KD.Config(), teachers={teachers}, epochs=2, "
            f"search=Search(samples=1, max_concurrent=2, space={space}))"
        )
        log = tmp_path / f"passes-{kind}"
        path = tiny.write(tmp_path, f"shared_{kind}", expression, tmp_path / "data")
        path.write_text(
            path.read_text().replace("from torch import nn\n", f"from torch import nn\n{COUNTED.format(log=str(log))}")
        )
        loaded = load(path)
        text = io.StringIO()
        found = search(loaded, loaded.recipe, kind, str(tmp_path / "runs"), Display(Console(file=text, width=300)))
        lines = [path.read_text().splitlines() for path in sorted(Path(found.place).glob("trials/*/metrics.jsonl"))]
        evaluations = [[json.loads(line)["evaluation"] for line in each] for each in lines]
        return log.read_text().splitlines(), evaluations

    return run


@pytest.mark.slow
def test_two_trials_ask_the_teacher_once_for_every_batch_and_learn_the_same(trials):
    alone, expected = trials("none")
    assert len({line.split()[0] for line in alone}) == 2 == len(expected)
    assert set(Counter(line.split()[1] for line in alone).values()) == {2} and len(alone) == 2 * STEPS
    shared, found = trials("float32")
    assert {line.split()[1] for line in shared} == {line.split()[1] for line in alone}
    assert len(shared) == STEPS
    assert found == expected
    assert trials("float32")[0] == shared  # the search is finished: nothing runs again

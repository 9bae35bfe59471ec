"""Concurrent trials and cells on a Ray session with two CPUs share one cache while they fill it."""

import io
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from raykd.commands.study import choose
from raykd.launch.driver.display import Display
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.search.search import search
from raykd.launch.study.run import StudyRun
from raykd.recipe.files.load import load
from raykd.teachers.frozen_teacher import FrozenTeacher
from tests.support import tiny_recipe as tiny

# Code of the recipe's file, which every trial imports: writes a line for each forward pass of a teacher, and defines a
# method that is built only when two processes are ready to train.
ADDED = """
import os
import time
import zlib
from pathlib import Path

from raykd.methods.kd import KD
from raykd.teachers.frozen_teacher import FrozenTeacher

PLACE, DRIVER = Path({place!r}), {driver}
plain = FrozenTeacher.output


def counted(teacher, images, features):
    with open(PLACE / "passes", "a") as passes:
        passes.write(f"{{os.getpid()}} {{zlib.crc32(images.contiguous().numpy())}}\\n")
    return plain(teacher, images, features)


FrozenTeacher.output = counted


class Meeting(KD):
    @dataclass(frozen=True, kw_only=True)
    class Config(KD.Config):
        def build(self, new_student, teachers):
            until = time.monotonic() + 120
            if os.getpid() != DRIVER:
                (PLACE / f"ready-{{os.getpid()}}").touch()
                while len(list(PLACE.glob("ready-*"))) < 2 and time.monotonic() < until:
                    time.sleep(0.01)
            return super().build(new_student, teachers)


"""


CELLS = """

from raykd.recipe.study import Column, Row, Study

rates = [replace(recipe, optimizer=SGD(learning_rate=rate)) for rate in (0.05, 0.02)]
study = Study(
    rows=(Row(name="KD", method=recipe.method),),
    columns=tuple(Column(name=f"rate {i}", recipe=each) for i, each in enumerate(rates)),
    seeds=(0,),
)
"""


@pytest.fixture
def write(ray, tmp_path, monkeypatch):
    monkeypatch.setattr(FrozenTeacher, "output", FrozenTeacher.output)  # the recipes replace it here too

    def write(kind: str, search: str = "") -> Path:
        """A recipe whose teacher has this kind of cache."""
        place = tmp_path / kind
        place.mkdir()
        teachers = f"Teachers(sources=(Train(recipe=replace(base, workers=0, epochs=1)),), cache={kind!r})"
        expression = f"replace(base, method=Meeting.Config(), teachers={teachers}{search})"
        path = tiny.write(place, f"shared_{kind}", expression, tmp_path / "data")
        added = ADDED.format(place=str(place), driver=os.getpid())
        path.write_text(path.read_text().replace("base = Recipe(", f"{added}base = Recipe("))
        return path

    return write


def counted(path: Path, runs: Path) -> tuple[list[str], list[list[dict]]]:
    """The batches that the teacher computed, and the evaluations of each run in a folder."""
    lines = [each.read_text().splitlines() for each in sorted(runs.glob("**/metrics.jsonl"))]
    batches = [line.split()[1] for line in (path.parent / "passes").read_text().splitlines()]
    assert len(list(path.parent.glob("ready-*"))) >= 2  # a search's best network is measured by a further process
    return batches, [[json.loads(line)["evaluation"] for line in each] for each in lines]


@pytest.mark.slow
def test_two_trials_compute_each_teacher_batch_once(write, tmp_path):
    def run(kind):
        space = "{'optimizer.learning_rate': tune.grid_search([0.05, 0.02])}"
        path = write(kind, f", search=Search(samples=1, space={space})")
        loaded, display = load(path), Display(Console(file=io.StringIO(), width=300))
        storage = str(tmp_path / "runs")
        plan = RunPlan(loaded=loaded, recipe=loaded.recipe, name=kind, storage=storage, display=display)
        found = search(plan)
        return counted(path, Path(found.location) / "trials")

    steps = 2 * 140 // 32  # two passes over what validation leaves of 160 images of ten classes
    expect_each_batch_once(run("none"), run("float32"), steps)


@pytest.mark.slow
def test_two_cells_of_a_study_compute_each_teacher_batch_once(write, tmp_path):
    def run(kind):
        path = write(kind)
        path.write_text(path.read_text() + CELLS)
        plan, _ = choose([str(path), "--name", kind, "--storage", str(tmp_path / "runs"), "--seeds", "0"])
        study = StudyRun(plan, Display(Console(file=io.StringIO(), width=300)))
        assert study.run() == []
        return counted(path, tmp_path / "runs" / kind)

    expect_each_batch_once(run("none"), run("float32"), 2 * 160 // 32)


def expect_each_batch_once(without, cached, steps):
    (alone, expected), (shared, found) = without, cached
    assert len(expected) == 2 and Counter(Counter(alone).values()) == {2: steps}
    assert Counter(shared) == Counter(set(alone))
    assert found == expected

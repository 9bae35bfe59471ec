"""Trials side by side on one Ray session of two CPUs share one cache while they fill it."""

import io
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from raykd.launch.driver.display import Display
from raykd.launch.search.search import search
from raykd.recipe.files.load import load
from raykd.teachers.frozen_teacher import FrozenTeacher
from tests.support import tiny_recipe as tiny

STEPS = 2 * 140 // 32  # of a trial: two passes over what validation leaves of 160 images of ten classes

# Stands in the recipe's file, which every trial imports: a line for each pass of a teacher in training, and a method
# that is built when two processes are ready to train.
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


@pytest.fixture
def trials(ray, tmp_path, monkeypatch):
    monkeypatch.setattr(FrozenTeacher, "output", FrozenTeacher.output)  # the recipes replace it here too

    def run(kind: str) -> tuple[list[str], list[list[dict]]]:
        """Passes of the teacher, and each trial's evaluations, of a search of two trials at once."""
        place = tmp_path / kind
        place.mkdir()
        teachers = f"Teachers(sources=(Train(recipe=replace(base, workers=0, epochs=1)),), cache={kind!r})"
        space = "{'optimizer.learning_rate': tune.grid_search([0.05, 0.02])}"
        trained = f"replace(base, method=Meeting.Config(), teachers={teachers}"
        expression = f"{trained}, search=Search(samples=1, space={space}))"
        path = tiny.write(place, f"shared_{kind}", expression, tmp_path / "data")
        added = ADDED.format(place=str(place), driver=os.getpid())
        path.write_text(path.read_text().replace("base = Recipe(", f"{added}base = Recipe("))
        loaded = load(path)
        display = Display(Console(file=io.StringIO(), width=300))
        found = search(loaded, loaded.recipe, kind, str(tmp_path / "runs"), display)
        lines = [path.read_text().splitlines() for path in sorted(Path(found.place).glob("trials/*/metrics.jsonl"))]
        batches = [line.split()[1] for line in (place / "passes").read_text().splitlines()]
        assert len(list(place.glob("ready-*"))) >= 2  # and the process that measures the best network
        return batches, [[json.loads(line)["evaluation"] for line in each] for each in lines]

    return run


@pytest.mark.slow
def test_two_trials_compute_each_teacher_batch_once(trials):
    alone, expected = trials("none")
    assert len(expected) == 2 and Counter(Counter(alone).values()) == {2: STEPS}
    shared, found = trials("float32")
    assert Counter(shared) == Counter(set(alone))
    assert found == expected

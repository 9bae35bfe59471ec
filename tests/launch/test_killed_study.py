"""A study whose driver is killed at random moments is completed by the same command, with the same results."""

import itertools
import random
import time
from pathlib import Path

import pytest

from raykd.reports.make import make
from raykd.reports.tables.study import read_study
from raykd.storage.folder import Folder
from tests.support import tiny_study

KILLS = 5


def students(storage: Path) -> dict[str, bytes]:
    """The weights of every cell and teacher, by run name."""
    found = storage.rglob("student.safetensors")
    return {str(path.parent.relative_to(storage)): path.read_bytes() for path in found}


def means(storage: Path) -> dict:
    """The table of the study's report."""
    (table,) = make([str(storage / "table")]).tables
    return {place: (cell.last, cell.best, cell.mark) for place, cell in table.cells.items()}


@pytest.mark.slow
def test_killed_at_random_moments_it_gives_the_same_table(raykd, tmp_path):
    path, draw = tiny_study.write(tmp_path, "killed_table", tmp_path / "data"), random.Random(0)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ("study", path, "--name", "table", "--checkpoint.every", "2 steps", "--storage")
    raykd(*words, whole)
    ends = []
    for _ in range(KILLS):
        with raykd.start(*words, killed) as process:
            starts = (line for line in process.stdout if " starts" in line)
            for _ in itertools.islice(starts, draw.randint(1, 2)):
                pass
            time.sleep(draw.uniform(0, 0.5))
            process.kill()
            ends.append(process.wait())
    assert set(ends) <= {-9, 0} and ends.count(-9) >= 2  # a fast machine may finish the study before a kill
    raykd(*words, killed)
    assert students(killed) == students(whole) and len(students(whole)) == 2 * 2 * 2 + 1
    assert {cell.status for cell in read_study(Folder(killed / "table")).cells} == {"finished"}
    assert means(killed) == means(whole)

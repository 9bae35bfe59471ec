"""Teachers that several drivers need: one trains them, the others wait, and take over if it dies."""

import io
import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from rich.console import Console

from raykd.commands.study import choose
from raykd.launch.driver.display import Display
from raykd.launch.study.run import StudyRun
from raykd.launch.teachers import train
from raykd.launch.teachers.plan import run_name, teacher_recipes
from raykd.launch.teachers.train import TeacherProgress
from raykd.launch.trials import teacher_leases
from raykd.launch.trials.queue import Job, Queue
from raykd.launch.trials.side_by_side import NextJob, kind
from raykd.recipes.digits.supervised import recipe as digits
from raykd.storage import lease
from raykd.storage.folder import Folder
from tests.launch.conftest import ROOT
from tests.support import tiny_study


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(teacher_leases, "RETRY", 0.05)


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_lease_held_by_another_driver_is_awaited(tmp_path):
    said, there = [], set()
    with lease.held(Folder(tmp_path) / "teachers/b", said.append):
        leases = teacher_leases.TeacherLeases(str(tmp_path), said.append)
        leases.take(["teachers/a", "teachers/b"])
        assert list(leases.taken()) == ["teachers/a"]
        taken = lease.held(Folder(tmp_path) / "teachers/a", said.append)
        with pytest.raises(lease.Held, match="is training .*teachers/a right now"), taken:
            pass
    until(lambda: there.update(leases.taken()) or there == {"teachers/b"})
    leases.release("teachers/a")
    with lease.held(Folder(tmp_path) / "teachers/a", said.append):
        leases.close()
    with lease.held(Folder(tmp_path) / "teachers/b", said.append):
        assert said == []


def test_teachers_of_another_driver_are_reused_or_finished(tmp_path):
    jobs = [Job(name=f"teachers/{name}", recipe=replace(digits, workers=1), role="teacher") for name in "ab"]
    student = Job(name="student", recipe=replace(digits, workers=1), teachers=("teachers/a",))
    admit_all = lambda waiting: lambda recipe: True  # noqa: E731
    queue = Queue({job.name: job for job in [*jobs, student]}, lambda recipe: 1, admit_all)
    text = io.StringIO()
    progress = TeacherProgress(queue, str(tmp_path), Console(file=text, width=200))
    leases = teacher_leases.TeacherLeases(str(tmp_path), text.write)
    with lease.held(Folder(tmp_path) / "teachers/a", print), lease.held(Folder(tmp_path) / "teachers/b", print):
        leases.take(queue.teachers)
        progress.share_teachers(leases)
        searcher = NextJob(queue, [kind(student.recipe)], progress.settle)
        assert searcher.suggest("1") is None and not queue.empty and not queue.running
        assert text.getvalue().count("is being trained by another process: waiting for it") == 2
        result = dict.fromkeys(("epochs", "seed", "workers", "restarts", "seconds", "images_per_second"), 1)
        result |= {"name": "a", "method": "supervised", "status": "finished", "top1": 0.5, "parameters": 1}
        (Folder(tmp_path) / "teachers/a").write("result.json", json.dumps(result))
    found = set()
    until(lambda: found.add((searcher.suggest("1") or {"id": ""})["id"]) or found >= {"teachers/b", "student"})
    assert queue.states["teachers/a"].status == "finished" and "by another process, top-1 50.00 %" in text.getvalue()
    assert queue.empty and set(queue.running) == {"teachers/b", "student"}
    leases.close()


DIES_WITHOUT_IT = """
import os, signal, sys, time
from pathlib import Path
from raykd.storage import lease
from raykd.storage.folder import Folder

with lease.held(Folder(sys.argv[1]), print):
    print("held", flush=True)
    while not Path(sys.argv[2]).exists():
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_study_takes_over_a_teacher_when_its_driver_dies(ray, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    runs = tmp_path / "runs"
    path = tiny_study.write(tmp_path, "shared_table", tmp_path / "data")
    plan, _ = choose([str(path), "--storage", str(runs), "--name", "table", "--seeds", "0", "--columns", "small"])
    (teacher,) = {run_name(teacher) for cell in plan.cells for teacher in teacher_recipes(cell.recipe)}
    alone = runs / "table/alone/small/0/result.json"
    command = [sys.executable, "-c", DIES_WITHOUT_IT, str(runs / teacher), str(alone)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        text = io.StringIO()
        study = StudyRun(plan, Display(Console(file=text, width=300)))
        assert study.run() == [] and other.wait() == -9
    assert f"{teacher} is being trained by another process: waiting for it" in text.getvalue()
    order = [line.split(" s  ")[1] for line in text.getvalue().splitlines() if "finished, top-1" in line]
    assert [line.split(" finished")[0] for line in order] == ["alone, small, seed 0", teacher, "KD, small, seed 0"]


def test_the_table_of_teachers_shows_whole_epochs(tmp_path, monkeypatch):
    """Steps rarely end exactly where epochs do: here at 5.99 of 6."""
    monkeypatch.setattr(train, "cpus_in_use", lambda: "1/2 CPUs in use")
    job = Job(name="teachers/a", recipe=replace(digits, workers=1, epochs=6), role="teacher")
    queue = Queue({job.name: job}, lambda recipe: 1, lambda waiting: lambda recipe: True)
    progress = TeacherProgress(queue, str(tmp_path), Console(file=io.StringIO()))
    cells = lambda: [str(next(iter(column.cells))) for column in progress.table().columns]  # noqa: E731
    assert cells() == ["teachers/a", "waiting", "", ""]
    progress.on_trial_result(0, [], "teachers/a", {"epoch": 1.045, "step": 22, "top1": 0.5})
    assert cells()[2:] == ["1", "50.00 %"]
    progress.on_trial_result(0, [], "teachers/a", {"epoch": 5.987, "step": 126, "top1": 0.75})
    assert cells()[2:] == ["6", "75.00 %"]
    queue.states["teachers/a"].status = "running"
    assert progress.table().title == "1/2 CPUs in use"
    queue.states["teachers/a"].status = "finished"
    assert progress.table().title is None

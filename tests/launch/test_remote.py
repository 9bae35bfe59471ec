"""Remote teachers give the same weights as inline ones, even if actors die."""

import io
import itertools
import os
import random
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest
import safetensors.torch
import torch
from rich.console import Console

from raykd import UserError
from raykd.contract import Placement
from raykd.launch.cluster import capacity
from raykd.launch.cluster.autoscaler import Node
from raykd.launch.driver import validate
from raykd.launch.job_spec import JobSpec
from raykd.launch.worker import remote_teachers
from raykd.methods.kd import KD
from raykd.models import create
from raykd.models.config import Network
from raykd.recipe import Pretrained, Search, Teachers
from raykd.recipe.files.load import load
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.serial import to_dict
from raykd.recipes.digits.supervised import recipe as digits
from tests.support import tiny_recipe as tiny

MORE = """
from raykd.data.mixing import Mixup
from raykd.methods.fitnet_mkd import FitNetMKD
from raykd.recipe import Pretrained

recipe = replace(
    base,
    method=FitNetMKD.Config(),
    data=replace(base.data, mixing=Mixup()),
    teachers=Teachers(sources=tuple(
        Pretrained(network=Network(name="resnet8", weights=path), mean=base.data.mean, std=base.data.std)
        for path in {weights!r}
    )),
    accumulate=2,
    epochs={epochs},
)
"""


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Writes a recipe file with two teachers."""
    folder, weights = tmp_path_factory.mktemp("remote"), []
    for seed in range(2):
        torch.manual_seed(seed)
        weights.append(str(folder / f"teacher-{seed}.safetensors"))
        safetensors.torch.save_file(create("resnet8", 10, image_size=8).model.state_dict(), weights[-1])

    def write(name, epochs):
        path = tiny.write(folder, name, "base", folder / "data")
        path.write_text(path.read_text() + MORE.format(weights=weights, epochs=epochs))
        return path

    return write


def train(path, storage, **changes):
    """The final weights of a recipe's run in this process, and the printed lines."""
    from raykd.launch.driver.display import Display
    from raykd.launch.driver.run import train
    from raykd.launch.driver.run_plan import RunPlan

    loaded, text = load(path), io.StringIO()
    teachers = replace(loaded.recipe.teachers, **changes.pop("teachers", {}))
    recipe = replace(loaded.recipe, teachers=teachers, **changes)
    display = Display(Console(file=text, width=400))
    plan = RunPlan(loaded=loaded, recipe=recipe, name=path.stem, storage=str(storage), display=display)
    done = train(plan, [])
    return safetensors.torch.load_file(f"{done.location}/student.safetensors"), text.getvalue()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def actors(root=None, kind="TeacherActor"):
    """Processes of remote teachers, or of another actor, below this or another process."""
    below = psutil.Process(root).children(recursive=True)
    return [process for process in below if process.is_running() and _title(process).startswith(f"ray::{kind}")]


def _title(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Killer(threading.Thread):
    """Kills a remote teacher, or another actor, after a run's first epoch."""

    def __init__(self, metrics, kind="TeacherActor"):
        super().__init__(daemon=True)
        self.metrics, self.kind, self.killed = metrics, kind, 0

    def run(self):
        until = time.monotonic() + 120
        while time.monotonic() < until and not (self.metrics.exists() and self.metrics.read_text()):
            time.sleep(0.01)
        for process in actors(kind=self.kind):
            process.send_signal(signal.SIGKILL)
            self.killed += 1


def none_left(root=None, seconds=15):
    until = time.monotonic() + seconds
    while actors(root) and time.monotonic() < until:
        time.sleep(0.2)
    return not actors(root)


@pytest.mark.slow
def test_a_run_with_a_killed_actor_equals_inline_teachers(ray, write, tmp_path):
    path = write("tiny_remote", epochs=6)
    inline, _ = train(path, tmp_path / "inline", workers=0)
    killer = Killer(tmp_path / "remote/tiny_remote/metrics.jsonl")
    killer.start()
    remote, said = train(path, tmp_path / "remote", workers=1, teachers={"placement": "remote"})
    assert killer.killed == 1 and "a remote teacher of worker 0 was lost (ActorDiedError)" in said
    assert same(inline, remote)
    assert none_left()


@pytest.mark.slow
def test_a_run_with_a_killed_worker_equals_inline_teachers(ray, write, tmp_path):
    """On two CPUs, so that the old actor's CPU must be freed first."""
    path = write("tiny_worker", epochs=6)
    inline, _ = train(path, tmp_path / "inline", workers=0)
    killer = Killer(tmp_path / "remote/tiny_worker/metrics.jsonl", "RayTrainWorker")
    killer.start()
    remote, _ = train(path, tmp_path / "remote", workers=1, teachers={"placement": "remote"})
    assert killer.killed == 1 and same(inline, remote)
    assert none_left()


@pytest.mark.slow
def test_two_workers_may_have_two_actors_each(write, raykd):
    """Four actors and two workers need six CPUs, which are declared to Ray."""
    path = write("tiny_pairs", epochs=3)
    raykd.environment["RAY_OVERRIDE_RESOURCES"] = '{"CPU": 6}'
    raykd("train", path, "--workers", 2, "--name", "inline")
    process = raykd.start(
        "train", path, "--workers", 2, "--teachers.placement", "remote", "--teachers.actors", 2, "--name", "remote"
    )
    most = 0
    while process.poll() is None:
        most = max(most, len(actors(process.pid)))
        time.sleep(0.5)
    output, errors = process.communicate()
    assert process.returncode == 0, output + errors
    assert most == 4
    files = [raykd.storage / name / "student.safetensors" for name in ("inline", "remote")]
    assert same(*map(safetensors.torch.load_file, files))


def beginning(path, say, **changes):
    """A worker's side of remote teachers, without a worker."""
    loaded = load(path)
    recipe = replace(loaded.recipe, teachers=replace(loaded.recipe.teachers, placement="remote", **changes))
    about = {"run": "", "name": "", "trained": (), "fingerprint": "", "git": ""}
    job = JobSpec(recipe=to_dict(recipe), sources=loaded.sources, **about)
    return remote_teachers.RemoteTeachers(job, recipe, Placement(torch.device("cpu"), 1), (("stage2",),) * 2, 4, say)


def test_waiting_for_an_actors_resources_is_reported(ray, write, monkeypatch):
    monkeypatch.setattr(remote_teachers, "PATIENCE", 0.5)
    holder = ray.remote(num_cpus=2)(type("Holder", (), {"placed": lambda self: None})).remote()
    ray.get(holder.placed.remote())
    said = []
    teachers = beginning(write("tiny_waiting", epochs=1), said.append)
    threading.Timer(3, lambda: ray.kill(holder)).start()
    teachers.gather()
    assert said == ["worker 0 is waiting for a remote teacher, which needs 1 CPU: 1 node(s)"]
    assert len(teachers(3)) == 2, "accumulate=2"
    teachers.close()
    assert none_left()


def test_actor_errors_are_raised_and_repeated_deaths_end_the_run(ray, write, monkeypatch):
    path = write("tiny_broken", epochs=1)
    sources = load(path).recipe.teachers.sources
    gone = replace(sources[1], network=replace(sources[1].network, weights="gone.safetensors"))
    teachers = beginning(path, print, sources=(sources[0], gone))
    with pytest.raises(UserError, match="gone.safetensors"):
        teachers.gather()
    teachers.close()

    class Dying:
        def __init__(self, *arguments):
            pass

        def placed(self):
            pass

        prepare = placed

        def outputs(self, step):
            os._exit(1)

    monkeypatch.setattr(remote_teachers, "TeacherActor", ray.remote(Dying))
    monkeypatch.setattr(remote_teachers, "LOSSES", 2)
    said = []
    teachers = beginning(path, said.append)
    with pytest.raises(remote_teachers.TeachersLost, match="2 actors of worker 0's remote teachers .*ActorDiedError"):
        teachers(0)
    teachers.close()
    assert len(said) == 1 and "another one computes its steps again" in said[0]


def test_impossible_actors_are_rejected(ray, write, tmp_path):
    path = write("tiny_crowded", epochs=1)
    with pytest.raises(UserError, match="each with 2 actor.s. of 1 CPU, can never run here: there is room for 0"):
        train(path, tmp_path, workers=1, teachers={"placement": "remote", "actors": 2})
    assert not (tmp_path / "tiny_crowded/recipe.json").exists()


def remote_recipe(**changes):
    source = Pretrained(network=Network(name="resnet8", weights="x"))
    return replace(digits, method=KD.Config(), teachers=Teachers(sources=(source,), placement="remote", **changes))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"workers": 0}, "require workers 1 or more"),
        ({"teachers": {"cache": "float32"}}, "teachers.cache none"),
        ({"teachers": {"form": "auto"}}, "combined with teachers.placement remote"),
        ({"teachers": {"actors": 0}}, "teachers.actors: 0"),
        ({"teachers": {"ahead": 0}}, "teachers.ahead: 0"),
        ({"teachers": {"cpus_per_actor": 0}}, "teachers.cpus_per_actor: 0"),
        ({"teachers": {"gpus_per_actor": 1.5}}, "teachers.gpus_per_actor: 1.5"),
    ],
)
def test_incompatible_remote_settings_are_rejected(change, says):
    recipe = remote_recipe(**change.pop("teachers", {}))
    with pytest.raises(UserError, match=says):
        validate.check(replace(recipe, **change))


@pytest.mark.parametrize("fixed", [True, False])
def test_trials_reject_remote_teachers(fixed):
    """A search reserves resources only for a trial's workers."""
    from ray import tune

    from raykd.launch.search.setup import setup_of

    wanted = Search(space={"seed": tune.randint(0, 9)} if fixed else {"teachers.placement": tune.choice(["remote"])})
    recipe = replace(remote_recipe(), workers=1, search=wanted)
    if not fixed:
        recipe = replace(recipe, teachers=replace(recipe.teachers, placement="inline"))
    with pytest.raises(UserError, match="search: teachers.placement"):
        setup_of(recipe)


def test_teacher_placement_is_not_part_of_the_fingerprint():
    recipe = remote_recipe(actors=3, ahead=4, cpus_per_actor=2, gpus_per_actor=0.5)
    assert fingerprint(recipe) == fingerprint(remote_recipe())
    inline = replace(recipe, teachers=replace(recipe.teachers, placement="inline"))
    assert fingerprint(recipe) == fingerprint(inline)


def test_capacity_equals_an_exhaustive_search_over_placements():
    draw = random.Random(0)
    for _ in range(60):
        sizes = [draw.randint(0, 5) for _ in range(draw.randint(1, 3))]
        recipe = replace(
            remote_recipe(actors=draw.randint(1, 2), cpus_per_actor=draw.randint(1, 3)),
            cpus_per_worker=draw.randint(1, 3),
        )
        nodes = [Node({"CPU": float(size)}, {}) for size in sizes]
        found = capacity.workers_that_fit(nodes, recipe, 2)
        assert found == max(workers for workers in range(3) if placeable(sizes, recipe, workers)), (sizes, recipe)


def placeable(sizes, recipe, workers):
    needs = [recipe.cpus_per_worker] * workers
    needs += [recipe.teachers.cpus_per_actor] * (workers * recipe.teachers.actors)
    return any(
        all(sum(n for n, p in zip(needs, places) if p == i) <= size for i, size in enumerate(sizes))
        for places in itertools.product(range(len(sizes)), repeat=len(needs))
    )


def test_an_elastic_run_leaves_resources_for_actors(monkeypatch):
    nodes = [Node({"CPU": 4.0}, {}), Node({"CPU": 3.0}, {})]
    monkeypatch.setattr(capacity, "nodes", lambda: nodes)
    monkeypatch.setattr(capacity.Limits, "read", staticmethod(capacity.Limits))
    assert capacity.check_capacity(replace(remote_recipe(), workers=(1, 7))).workers == (1, 3)
    assert capacity.check_capacity(replace(remote_recipe(), workers=2)).workers == 2
    inline = replace(remote_recipe(), teachers=Teachers(), workers=(1, 7))
    assert capacity.check_capacity(inline).workers == (1, 7)

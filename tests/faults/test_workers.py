"""Lost workers, drivers and machines while Ray trains."""

import os
import signal
import time

import pytest

from raykd.launch.run_state.failure import preempted
from raykd.launch.run_state.messages import Progress, WorkerStatus
from raykd.launch.run_state.state import RunState
from raykd.runs.checkpoints import stamps
from tests.faults.stage import group, same

BRANCHES = "method=replace(base.method, ramp_up_epochs=1.0)"


def undisturbed(stage, base, name, changes=""):
    """The same run by two workers without Ray."""
    assert group(stage, stage.recipe(base, changes), name, 2) == [0, 0]
    return stage.state(name)


def test_a_killed_worker_is_replaced_without_changing_the_result(stage):
    """SIGKILL of worker 1; Ray restarts both, and they resume from the newest checkpoint."""
    recipe = stage.recipe("okddip", BRANCHES, "deaths=(0.47,), rank=1")
    process = stage.train(recipe, "okddip-ray", "--workers", 2)
    assert process.end() == 0, process.said
    assert "its process was lost" in process.said and stage.json("okddip-ray")["restarts"] == 1
    assert stage.json("okddip-ray", "attempts.json")[1]["step"] >= 6, "at most one interval is lost"
    assert same(stage.state("okddip-ray"), undisturbed(stage, "okddip", "okddip-pair", BRANCHES)) == []


@pytest.mark.slow
def test_restarted_workers_wait_for_unreachable_storage(stage):
    recipe = stage.recipe("supervised", "", "deaths=(0.5,), rank=1")
    process = stage.start(recipe, "away-again", "--workers", 2)
    flag, place = stage.folder / "flags0/death-0.5", stage.storage / "away-again"
    while not flag.exists():
        time.sleep(0.01)
        assert process.process.is_alive(), process.said
    place.rename(stage.storage / "aside-again")
    place.mkdir()
    while "trying again" not in process.said or "finding the run's directory" not in process.said:
        time.sleep(0.1)
        assert process.process.is_alive(), process.said
    time.sleep(2)
    place.rmdir()
    (stage.storage / "aside-again").rename(place)
    assert process.end() == 0 and "works again" in process.said, process.said
    assert stage.json("away-again")["restarts"] == 1
    assert same(stage.state("away-again"), undisturbed(stage, "supervised", "away-again-pair")) == []


@pytest.mark.slow
def test_the_failure_limit_applies_only_without_progress(stage):
    """Three losses with checkpoints in between, then a second one at the same step."""
    recipe = stage.recipe("supervised", "", "deaths=(0.2, 0.45, 0.74, 0.7401, 0.7402), sleep=0.2")
    process = stage.train(recipe, "losing", "--workers", 1, "--max-failures", 1)
    assert process.end() == 1, process.said
    assert "2 failure(s) since the checkpoint of step" in " ".join(process.said.split())
    steps = [attempt["step"] for attempt in stage.json("losing", "attempts.json")]
    assert len(steps) == 4 and steps == sorted(set(steps)), steps


def test_failures_are_counted_since_the_newest_checkpoint():
    state = RunState.__ray_metadata__.modified_class(watched=True)
    assert not state.takes_over()
    assert not state.lose("a", False, 1) and state.takes_over()
    state.report(0, Progress(saved=4), WorkerStatus("here", 1, "", waits=False))
    assert not state.lose("b", False, 1), "there is a checkpoint between"
    state.announce_loss("worker 1 on here")
    assert not state.lose("c", False, 1), "it was announced"
    assert not state.lose("d", True, 1), "Ray knows that the node was taken away"
    assert state.lose("e", False, 1), "the second since step 4"
    given_up = state.read().failure
    assert given_up.kind == "failure"
    assert "e (given up: 2 failure(s) since the checkpoint of step 4, max_failures is 1" in given_up.line
    endless = RunState.__ray_metadata__.modified_class(watched=True)
    assert not any(endless.lose("f", False, -1) for _ in range(100))


def test_a_preempted_node_is_distinguished_from_a_lost_one():
    from ray.exceptions import ActorDiedError, RayActorError
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

    taken = WorkerHealthCheckFailedError("lost", RayActorError("a", "node was terminated", preempted=True))
    assert preempted({0: RuntimeError("connection closed"), 1: taken})
    assert not preempted({0: WorkerHealthCheckFailedError("lost", ActorDiedError()), 1: RuntimeError("x")})


@pytest.mark.slow
@pytest.mark.parametrize("base", ["one", "dml"])
def test_pairs_of_killed_workers_are_replaced(stage, base):
    """Either worker is killed and both restart; without Ray, which the test above uses."""
    recipe = stage.recipe(base, "", "deaths=(0.3,), rank=0")
    assert -signal.SIGKILL in group(stage, recipe, f"{base}-pair", 2)
    assert group(stage, recipe, f"{base}-pair", 2) == [0, 0]
    assert same(stage.state(f"{base}-pair"), undisturbed(stage, base, f"{base}-pair-whole")) == []


@pytest.mark.slow
def test_sigterm_to_a_worker_saves_a_checkpoint(stage):
    recipe = stage.recipe("supervised", 'checkpoint=Checkpoint(every="never")', "terminated=0.5, rank=1, sleep=0.3")
    process = stage.train(recipe, "told-to-go", "--workers", 2)
    assert process.end() == 0, process.said
    assert "SIGTERM" in process.said
    assert stage.json("told-to-go", "attempts.json")[1]["step"] >= 10, "nothing was due before the signal"
    whole = undisturbed(stage, "supervised", "told-to-go-pair")
    assert same(stage.state("told-to-go"), whole) == []


@pytest.mark.slow
def test_a_signal_to_the_process_group_saves_a_checkpoint(stage):
    """As sent by `timeout`, shells and batch systems: Ray's processes must survive it, or no checkpoint could be
    saved."""
    recipe = stage.recipe("supervised", 'checkpoint=Checkpoint(every="never"), epochs=9.0', "sleep=0.2")
    process = stage.start(recipe, "whole-group", "--workers", 2)
    while "epoch    1" not in process.said:
        time.sleep(0.1)
        assert process.process.is_alive(), process.said
    time.sleep(2)  # steps past the evaluation's own checkpoint
    os.killpg(process.pid, signal.SIGTERM)
    assert process.end(60) == 128 + signal.SIGTERM, process.said
    step = int(process.said.rpartition("stopped at step ")[2].split(";")[0])
    assert stamps.stamps(stage.run("whole-group"))[-1].step == step > 21


@pytest.mark.slow
def test_a_stuck_worker_is_named_and_the_run_continues(stage):
    recipe = stage.recipe("supervised", "", "stuck=0.5, rank=1")
    process = stage.train(recipe, "stuck", "--workers", 2, "--collective-timeout", 15)
    assert process.end() == 0, process.said
    said = " ".join(process.said.split())
    assert "kept the others waiting for more than 15 s: worker 1" in said and "dying.py" in said
    assert stage.json("stuck")["restarts"] == 1
    assert same(stage.state("stuck"), undisturbed(stage, "supervised", "stuck-pair")) == []


@pytest.mark.slow
@pytest.mark.parametrize("everything", [False, True], ids=["driver", "everything"])
def test_a_killed_driver_or_machine_is_survived(stage, everything):
    name = f"killed-{everything}"
    recipe = stage.recipe("individual", "epochs=2.0", "sleep=0.2")
    process = stage.start(recipe, name, "--workers", 2)
    stage.wait_for(name, 6)
    if everything:
        kill_tree(process.pid)
    else:
        os.kill(process.pid, signal.SIGKILL)
    assert process.end() == -9
    time.sleep(3)
    assert stage.train(recipe, name, "--workers", 2).end() == 0
    assert stage.json(name, "attempts.json")[-1]["step"] >= 4
    assert same(stage.state(name), undisturbed(stage, "individual", f"{name}-pair", "epochs=2.0")) == []


def kill_tree(pid):
    """SIGKILL of a process and of all that it has started."""
    import psutil

    for process in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        process.kill()


@pytest.mark.slow
def test_a_killed_controller_is_survived(stage):
    """The controller is Ray's process that supervises the workers."""
    import psutil

    process = stage.start(stage.recipe("supervised", "", "sleep=0.3"), "controller", "--workers", 1)
    stage.wait_for("controller", 6)
    below = psutil.Process(process.pid).children(recursive=True)
    (controller,) = [child for child in below if "TrainController" in " ".join(child.cmdline())]
    controller.kill()
    assert process.end() == 0, process.said
    assert "training controller: its process was lost" in process.said and stage.json("controller")["restarts"] == 1
    assert stage.json("controller", "attempts.json")[1]["step"] >= 4
    assert same(stage.state("controller"), stage.state(stage.whole("supervised"))) == []


@pytest.mark.slow
def test_out_of_memory_names_settings_and_is_not_retried(stage):
    process = stage.train(stage.recipe("supervised", "", "memory=0.3"), "memory", "--workers", 1)
    assert process.end() == 1
    for word in ("out of memory", "resnet8", "batch_size 64", "--batch-size", "--accumulate"):
        assert word in process.said.replace("\n", " ")
    assert len(stage.json("memory", "attempts.json")) == 1

"""W&B's protocol against a local stub: what a run uploads, and what is uploaded later if the server goes away."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from raykd import UserError
from raykd.storage import lease
from raykd.storage.folder import Folder
from raykd.track import server as client
from raykd.track.history import FILE, read_history
from raykd.track.run import start
from raykd.track.upload import sync
from tests.track.conftest import KEY


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "kd-seed0"
    path.mkdir()
    (path / "student.safetensors").write_bytes(b"weights")
    (path / "recipe.json").write_text("{}")
    (path / "result.json").write_text('{"status": "finished"}')
    return path


def log(run, steps):
    for step in steps:
        run.log(
            step, {"epoch": step / 10, "terms": {"ce": 1.0 / (step + 1)}, "notes": {"teacher_weights": [0.25, 0.75]}}
        )


def until(condition, seconds=20.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "the server did not get what it should"
        time.sleep(0.05)


def steps(server, run_id):
    return [row["_step"] for row in server.history(run_id)]


def test_a_run_is_uploaded(server, directory, recipe):
    said = []
    settings = {"mode": "auto", "project": "raykd", "entity": "", "group": "digits", "tags": ["mine"]}
    run = start(recipe(wandb=settings), name="kd-seed0", directory=directory, job_type="student", notify=said.append)
    log(run, range(3))
    run.artifact(directory / "student.safetensors", {"top1": 0.75, "parameters": 100})
    run.summary({"top1": 0.75, "networks": {"student": {"top1": 0.75}}})
    run.finish("finished")

    sent = server.runs[run.state.id]
    assert said == [] and server.unknown == []
    assert (sent["displayName"], sent["groupName"], sent["jobType"], sent["exit"]) == (
        "kd-seed0",
        "digits",
        "student",
        0,
    )
    assert set(sent["tags"]) == {"KD", "digits", "resnet8x4", "seed 0", "mine"}
    assert server.config(run.state.id)["method"]["temperature"] == 4
    assert [row["terms/ce"] for row in server.history(run.state.id)] == [1, 1 / 2, 1 / 3]
    assert server.history(run.state.id)[0]["notes/teacher_weights/1"] == 0.75
    assert server.summary(run.state.id)["networks/student/top1"] == 0.75
    (artifact,) = server.artifacts.values()
    assert (artifact["artifactCollectionName"], artifact["state"]) == ("student-kd-seed0", "COMMITTED")
    assert json.loads(artifact["metadata"])["parameters"] == 100
    assert server.uploads["artifact0/student.safetensors"] == b"weights"
    assert json.loads(server.uploads[f"{run.state.id}/result.json"]) == {"status": "finished"}
    assert run.url == f"{server.url}/someone/raykd/runs/{run.state.id}"


def test_a_password_in_the_servers_address_is_never_written(server, directory, recipe, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", server.url.replace("://", "://me:SECRET@"))
    run = start(recipe(), name="a", directory=directory)
    log(run, range(2))
    run.state.url = "https://me:SECRET@host/someone/raykd/runs/1"
    run.finish("finished")
    run.state.write()
    assert run.url == "https://***@host/someone/raykd/runs/1"
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) > 3 and not [str(path) for path in files if b"SECRET" in path.read_bytes()]


def test_the_teacher_is_an_input_artifact(server, directory, recipe, tmp_path):
    other = tmp_path / "teacher"
    other.mkdir()
    (other / "student.safetensors").write_bytes(b"teacher")
    student = start(recipe(), name="early", directory=directory)
    student.use_teacher(str(other))  # not uploaded yet
    student.finish("finished")
    assert server.used == []
    teacher = start(recipe("Supervised"), name="teacher", directory=other, job_type="teacher")
    teacher.artifact(other / "student.safetensors", {})
    teacher.finish("finished")
    sync([str(directory)])
    assert server.used == [(student.state.id, "student-teacher")]


def test_a_resumed_run_has_each_step_once(server, directory, recipe):
    first = start(recipe(), name="a", directory=directory)
    log(first, range(8))
    first.finish("stopped")
    second = start(recipe(), name="a", directory=directory, resume_step=4)  # its checkpoint was of step 4
    log(second, range(5, 12))
    second.finish("finished")
    assert second.state.id == first.state.id and steps(server, first.state.id) == list(range(12))


def test_offline_parts_become_one_run_after_sync(server, directory, recipe):
    settings = {"mode": "offline", "project": "raykd", "entity": "", "group": "", "tags": []}
    for began, steps_of_part in ((0, range(6)), (3, range(4, 9))):
        run = start(recipe(wandb=settings), name="a", directory=directory, resume_step=began)
        log(run, steps_of_part)
        run.finish("stopped")
    assert server.runs == {} and run.url == ""
    (line,) = sync([str(directory.parent)])
    assert run.state.id in line and steps(server, run.state.id) == list(range(9))
    sync([str(directory)])
    assert steps(server, run.state.id) == list(range(9)), "a second sync sends nothing twice"


@pytest.mark.parametrize("part", ["first", pytest.param("later", marks=pytest.mark.slow)])
def test_a_run_survives_the_death_of_the_server(server, directory, recipe, part, monkeypatch):
    monkeypatch.setattr(client, "FINISH_SECONDS", 3)
    said, begin = [], 0
    if part == "later":
        run = start(recipe(), name="a", directory=directory)
        log(run, range(4))
        run.finish("stopped")
        begin = 4
    run = start(recipe(), name="a", directory=directory, resume_step=begin - 1 if begin else 0, notify=said.append)
    log(run, range(begin, 10))
    until(lambda: len(steps(server, run.state.id)) >= 8)
    server.kill()
    log(run, range(10, 15))
    run.artifact(directory / "student.safetensors", {})
    run.finish("finished")
    assert len(said) == 1 and "raykd sync" in said[0]
    assert len(steps(server, run.state.id)) < 15

    with pytest.raises(UserError, match="does not respond"):
        sync([str(directory)])
    server.start()
    (line,) = sync([str(directory)])
    assert "uploaded" in line
    assert steps(server, run.state.id) == list(range(15)) and server.runs[run.state.id]["exit"] == 0
    assert server.uploads["artifact0/student.safetensors"] == b"weights"


def test_a_truncated_history_is_completed_from_the_metrics(server, directory, recipe):
    rows = [{"step": step, "epoch": step / 10, "terms": {"ce": 1.0 / (step + 1)}} for step in range(2, 9, 2)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = start(recipe(mode="offline"), name="a", directory=directory)
    log(run, range(6))
    whole = (directory / FILE).read_text()
    (directory / FILE).write_text(whole[: whole.index('"step": 5') + 12])
    sync([str(directory)])
    assert steps(server, run.state.id) == [0, 1, 2, 3, 4, 6, 8]
    assert [row["terms/ce"] for row in server.history(run.state.id)] == [1 / (s + 1) for s in (0, 1, 2, 3, 4, 6, 8)]


def test_a_run_of_an_earlier_version_is_uploaded_from_its_metrics(server, directory, recipe):
    """It has W&B's own log, which raykd doesn't read, and no history."""
    rows = [{"step": step, "epoch": step / 10, "terms": {"ce": 1.0}} for step in range(1, 4)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "recipe.json").write_text(json.dumps(recipe()))
    earlier = {"id": "abc", "name": "a", "project": "raykd", "entity": "", "url": "", "last_step": 3, "artifacts": []}
    parts = [{"folder": "offline-run-1", "uploaded": False}]
    (directory / "wandb.json").write_text(json.dumps(earlier | {"teachers": [], "parts": parts}))
    sync([str(directory)])
    assert steps(server, "abc") == [1, 2, 3] and server.runs["abc"]["displayName"] == "a"
    later = start(recipe(), name="a", directory=directory, resume_step=2)
    log(later, range(3, 6))
    later.finish("finished")
    assert steps(server, "abc") == [1, 2, 3, 4, 5]


def test_an_uploaded_row_has_the_time_at_which_it_was_logged(server, directory, recipe, monkeypatch):
    run = start(recipe(mode="offline"), name="a", directory=directory)
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: 1_000_000_000.0)
        log(run, range(2))
    run.finish("finished")
    sync([str(directory)])
    assert [row["_timestamp"] for row in server.history(run.state.id)] == [1_000_000_000.0] * 2
    assert server.runs[run.state.id]["exit"] == 0


def test_later_parts_wait_for_earlier_ones(server, directory, recipe, monkeypatch):
    monkeypatch.setattr(client, "FINISH_SECONDS", 3)
    run = start(recipe(), name="a", directory=directory)
    log(run, range(3))
    server.kill()
    run.finish("failed")
    server.start()
    run = start(recipe(), name="a", directory=directory, resume_step=2)
    log(run, range(3, 6))
    run.finish("finished")
    assert steps(server, run.state.id) == list(range(6))


@pytest.mark.parametrize("trouble", ["no server", "no key"])
def test_an_unreachable_server_is_reported_once(server, directory, recipe, trouble, monkeypatch, tmp_path, capfd):
    if trouble == "no server":
        server.kill()
    else:
        monkeypatch.delenv("WANDB_API_KEY")
        monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    said = []
    run = start(recipe(), name="a", directory=directory, notify=said.append)
    log(run, range(3))
    run.finish("finished")
    assert len(said) == 1 and "offline" in said[0] and capfd.readouterr() == ("", "")


def test_a_run_survives_the_death_of_wandbs_service(server, directory, recipe, monkeypatch):
    monkeypatch.setattr(client, "FINISH_SECONDS", 3)
    said = []
    run = start(recipe(), name="a", directory=directory, notify=said.append)
    log(run, range(3))
    for child in psutil.Process().children(recursive=True):
        if "wandb-core" in child.name():
            os.kill(child.pid, signal.SIGKILL)
    until(lambda: log(run, range(3, 2000)) or said)
    run.summary({"a": 1})
    run.finish("finished")
    assert len(said) == 1 and "training continues" in said[0]


def test_disabled_tracking_writes_nothing(directory, recipe):
    settings = {"mode": "disabled", "project": "raykd", "entity": "", "group": "", "tags": []}
    run = start(recipe(wandb=settings), name="a", directory=directory)
    log(run, range(3))
    run.finish("finished")
    assert not (directory / "wandb.json").exists() and not (directory / "wandb").exists()


def test_the_key_is_never_written(server, directory, recipe, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(client, "FINISH_SECONDS", 3)
    monkeypatch.setattr("sys.argv", ["raykd", "--token", "another0secret"])
    said = []
    run = start(recipe(), name="a", directory=directory, notify=said.append)
    log(run, range(3))
    run.artifact(directory / "student.safetensors", {})
    server.kill()
    run.finish("finished")
    server.start()
    with contextlib.suppress(ConnectionError, SystemExit):  # of the service that was killed with the run
        client.quiet_wandb().teardown()
    said += sync([str(directory)])
    written = b"".join(path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file())
    shown = "".join(capfd.readouterr()) + "".join(said)
    for secret in (KEY, "another0secret"):
        assert secret.encode() not in written + b"".join(server.bodies) and secret not in shown


def test_step_lines_are_thinned_to_a_limit(server, directory, recipe, monkeypatch):
    run = start(recipe(), name="a", directory=directory)
    clock = [0.0]
    run.began = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    run.wandb_run, real = Slow(clock, run.wandb_run), run.wandb_run
    for step in range(1000):
        clock[0] += 0.1
        run.log(step, {"loss": 1.0}, thin=True)
    assert 0.005 < run.spent / clock[0] <= 0.011
    monkeypatch.undo()
    real.finish()


class Slow:
    """A W&B run of which every line takes 50 ms."""

    def __init__(self, clock, run):
        self.clock, self.run, self.step = clock, run, 0

    def log(self, values, step):
        self.clock[0] += 0.05


def test_a_run_in_remote_storage_stays_one_run(server, directory, recipe, tmp_path):
    """A worker on another machine finds the run's id and what the server lacks in the storage; `sync` does too."""
    from raykd.commands import sync as command
    from raykd.storage.local_copy import LocalCopy, of_tracking

    place = f"local://{tmp_path}/far"  # fsspec's name for files of this machine: not a local path to raykd

    def part(mode, steps):
        mirror = LocalCopy(Folder(place))
        mirror.download(of_tracking)
        run = start(recipe(mode=mode), name="a", directory=mirror.path, resume_step=max(steps[0] - 1, 0))
        log(run, steps)
        run.finish("stopped")
        mirror.upload(of_tracking)
        return run.state.id

    assert part("offline", range(4)) == part("offline", range(4, 8))
    assert command.run([place]) == 0
    assert [row["terms/ce"] for row in server.history(part("offline", range(8, 9)))] == [1 / (s + 1) for s in range(8)]
    assert not json.loads((tmp_path / "far/wandb.json").read_text())["uploaded"]


def test_only_the_runs_own_files_are_uploaded(server, directory, recipe, tmp_path):
    """The run is someone else's: links are not followed, and only plain values of its history are uploaded."""
    (tmp_path / "secret").write_text("PRIVATE")
    run = start(recipe(mode="offline"), name="a", directory=directory)
    log(run, range(3))
    run.artifact(directory / "student.safetensors", {"top1": 0.5})
    run.finish("finished")
    file = {"_type": "image-file", "path": str(tmp_path / "secret")}
    with (directory / FILE).open("a") as history:
        history.write(json.dumps({"step": 2, "values": {"image": file}}) + "\n" + '["no event"]\n{"step": "3"}\n')
    (directory / "metrics.jsonl").symlink_to(tmp_path / "secret")
    (line,) = sync([str(directory)])
    assert "uploaded" in line and steps(server, run.state.id) == [0, 1, 2]
    assert b"PRIVATE" not in b"".join(server.uploads.values()) + b"".join(server.bodies)
    assert b"image-file" not in b"".join(server.bodies)
    assert server.uploads["artifact0/student.safetensors"] == b"weights"


def test_a_run_in_training_is_not_uploaded(server, directory, recipe):
    run = start(recipe(mode="offline"), name="a", directory=directory)
    log(run, range(3))
    with lease.held(Folder(directory), print):
        (line,) = sync([str(directory)])
        assert "training it" in line and not server.runs
    (line,) = sync([str(directory)])
    assert "uploaded" in line and steps(server, run.state.id) == [0, 1, 2]


def test_a_history_that_is_a_link_is_not_read(server, directory, recipe, tmp_path):
    run = start(recipe(mode="offline"), name="a", directory=directory)
    log(run, range(3))
    run.finish("finished")
    (directory / FILE).rename(tmp_path / "elsewhere")
    (directory / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        read_history(directory)
    (line,) = sync([str(directory)])
    assert "did not accept the upload" in line and not server.runs


HOSTILE = {
    "another file": {"artifacts": [{"file": "/etc/passwd", "metadata": {}}]},
    "a file above": {"artifacts": [{"file": "../../secret", "metadata": {}}]},
    "no text": {"project": 5},
    "an id that is a path": {"id": "../../x"},
    "no list": {"teachers": 3},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_foreign_wandb_json_is_rejected(server, directory, case):
    (directory / "wandb.json").write_text(json.dumps({"id": "abc", "project": "raykd", "entity": ""} | HOSTILE[case]))
    with pytest.raises(UserError, match="wandb.json was changed or damaged"):
        sync([str(directory)])
    assert not server.uploads


def test_a_run_is_uploaded_elsewhere_only_after_confirmation(server, directory, recipe):
    settings = {"mode": "offline", "project": "loot", "entity": "stranger", "group": "", "tags": []}
    run = start(recipe(wandb=settings), name="a", directory=directory)
    log(run, range(3))
    run.finish("finished")
    with pytest.raises(UserError, match="sync --to stranger/loot"):
        sync([str(directory)])
    asked = []
    with pytest.raises(UserError, match="stranger/loot"):
        sync([str(directory)], ask=lambda question: asked.append(question))
    assert "stranger/loot" in asked[0] and not server.runs
    (line,) = sync([str(directory)], allowed=["stranger/loot"])
    assert "uploaded" in line and steps(server, run.state.id) == [0, 1, 2]


def test_a_history_that_names_another_project_is_uploaded_to_the_runs_project(server, directory, recipe):
    run = start(recipe(mode="offline"), name="a", directory=directory)
    log(run, range(3))
    run.finish("finished")
    loot = {"project": "loot", "entity": "stranger", "id": "theirs", "mode": "disabled", "dir": "/"}
    with (directory / FILE).open("a") as history:
        history.write(json.dumps({"start": read_history(directory).start | loot}) + "\n")
    sync([str(directory)])
    assert steps(server, run.state.id) == [0, 1, 2]
    assert not any(b"stranger" in body or b"loot" in body or b"theirs" in body for body in server.bodies)


def test_the_recipe_determines_the_project(server, directory, recipe):
    (directory / "wandb.json").write_text(json.dumps({"id": "theirs", "project": "loot", "entity": "stranger"}))
    run = start(recipe(), name="a", directory=directory)
    log(run, range(3))
    run.finish("finished")
    assert run.state.id != "theirs" and run.state.project == "raykd" and run.state.entity == "someone"

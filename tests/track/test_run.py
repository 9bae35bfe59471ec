"""W&B's wire against a loopback stub: what a run uploads, and what is left to bring later when the server goes away."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from raykd import UserError
from raykd.track import server as client
from raykd.track.run import start
from raykd.track.upload import HEADER, read_log, sync, write_log
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


def test_upload(server, directory, recipe):
    said = []
    settings = {"mode": "auto", "project": "raykd", "entity": "", "group": "digits", "tags": ["mine"]}
    run = start(recipe(wandb=settings), name="kd-seed0", directory=directory, job_type="student", say=said.append)
    log(run, range(3))
    run.artifact(directory / "student.safetensors", {"top1": 0.75, "parameters": 100})
    run.summary({"top1": 0.75, "networks": {"student": {"top1": 0.75}}})
    run.finish("finished")

    sent = server.runs[run.id]
    assert said == [] and server.unknown == []
    assert (sent["displayName"], sent["groupName"], sent["jobType"], sent["exit"]) == (
        "kd-seed0",
        "digits",
        "student",
        0,
    )
    assert set(sent["tags"]) == {"KD", "digits", "resnet8x4", "seed 0", "mine"}
    assert server.config(run.id)["method"]["temperature"] == 4
    assert [row["terms/ce"] for row in server.history(run.id)] == [1, 1 / 2, 1 / 3]
    assert server.history(run.id)[0]["notes/teacher_weights/1"] == 0.75
    assert server.summary(run.id)["networks/student/top1"] == 0.75
    (artifact,) = server.artifacts.values()
    assert (artifact["artifactCollectionName"], artifact["state"]) == ("student-kd-seed0", "COMMITTED")
    assert json.loads(artifact["metadata"])["parameters"] == 100
    assert server.uploads["artifact0/student.safetensors"] == b"weights"
    assert json.loads(server.uploads[f"{run.id}/result.json"]) == {"status": "finished"}
    assert run.url == f"{server.url}/someone/raykd/runs/{run.id}"


def test_a_password_in_the_servers_address_is_written_nowhere(server, directory, recipe, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", server.url.replace("://", "://me:SECRET@"))
    run = start(recipe(), name="a", directory=directory)
    log(run, range(2))
    run.note.url = "https://me:SECRET@host/someone/raykd/runs/1"
    run.finish("finished")
    run.note.write()
    assert run.url == "https://***@host/someone/raykd/runs/1"
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) > 3 and not [str(path) for path in files if b"SECRET" in path.read_bytes()]


def test_teacher_is_an_input(server, directory, recipe, tmp_path):
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
    assert server.used == [(student.id, "student-teacher")]


def test_resumed_run_has_each_step_once(server, directory, recipe):
    first = start(recipe(), name="a", directory=directory)
    log(first, range(8))
    first.finish("stopped")
    second = start(recipe(), name="a", directory=directory, resume_step=4)  # its checkpoint was of step 4
    log(second, range(5, 12))
    second.finish("finished")
    assert second.id == first.id and steps(server, first.id) == list(range(12))


def test_offline_parts_are_one_run_after_sync(server, directory, recipe):
    settings = {"mode": "offline", "project": "raykd", "entity": "", "group": "", "tags": []}
    for began, steps_of_part in ((0, range(6)), (3, range(4, 9))):
        run = start(recipe(wandb=settings), name="a", directory=directory, resume_step=began)
        log(run, steps_of_part)
        run.finish("stopped")
    assert server.runs == {} and run.url == ""
    (line,) = sync([str(directory.parent)])
    assert run.id in line and steps(server, run.id) == list(range(9))
    sync([str(directory)])
    assert steps(server, run.id) == list(range(9)), "a second sync sends nothing twice"


@pytest.mark.parametrize("part", ["first", pytest.param("later", marks=pytest.mark.slow)])
def test_server_dies_in_mid_run(server, directory, recipe, part, monkeypatch):
    monkeypatch.setattr(client, "FINISH_SECONDS", 6)
    said, begin = [], 0
    if part == "later":
        run = start(recipe(), name="a", directory=directory)
        log(run, range(4))
        run.finish("stopped")
        begin = 4
    run = start(recipe(), name="a", directory=directory, resume_step=begin - 1 if begin else 0, say=said.append)
    log(run, range(begin, 10))
    until(lambda: len(steps(server, run.id)) >= 8)
    server.kill()
    log(run, range(10, 15))
    run.artifact(directory / "student.safetensors", {})
    run.finish("finished")
    assert len(said) == 1 and "raykd sync" in said[0]
    assert len(steps(server, run.id)) < 15

    with pytest.raises(UserError, match="does not answer"):
        sync([str(directory)])
    server.start()
    (line,) = sync([str(directory)])
    assert "uploaded" in line
    assert steps(server, run.id) == list(range(15)) and server.runs[run.id]["exit"] == 0
    assert server.uploads["artifact0/student.safetensors"] == b"weights"


def test_a_log_that_breaks_off_is_written_again(server, directory, recipe, monkeypatch):
    """As after a full disk, which W&B's service gives no word of."""
    from raykd.track import run as module
    from raykd.track import upload

    torn = []

    def complete(log, whole=upload.complete):
        torn[:] = torn or [log]
        return log != torn[0] and whole(log)

    monkeypatch.setattr(upload, "complete", complete)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 2.0)
    settings = {"mode": "offline", "project": "raykd", "entity": "", "group": "", "tags": []}
    rows = [{"step": step, "epoch": step / 10, "terms": {"ce": 1.0}} for step in range(1, 9)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = []
    run = start(recipe(wandb=settings), name="a", directory=directory, resume_step=3, say=said.append)
    log(run, range(4, 9))
    run.summary({"top1": 0.5})
    run.finish("finished")
    assert len(said) == 1 and "written again" in said[0]
    assert [path.name for path in (directory / "wandb").glob("offline-run*")] == [run.note.parts[0]["folder"]]
    assert not torn[0].exists()
    sync([str(directory)])
    assert steps(server, run.id) == [4, 5, 6, 7, 8] and server.summary(run.id)["top1"] == 0.5


def test_later_part_waits_for_the_earlier(server, directory, recipe, monkeypatch):
    monkeypatch.setattr(client, "FINISH_SECONDS", 6)
    run = start(recipe(), name="a", directory=directory)
    log(run, range(3))
    server.kill()
    run.finish("failed")
    server.start()
    run = start(recipe(), name="a", directory=directory, resume_step=2)
    log(run, range(3, 6))
    run.finish("finished")
    assert steps(server, run.id) == list(range(6))


@pytest.mark.parametrize("trouble", ["no server", "no key"])
def test_goes_offline_and_says_so_once(server, directory, recipe, trouble, monkeypatch, tmp_path, capfd):
    if trouble == "no server":
        server.kill()
    else:
        monkeypatch.delenv("WANDB_API_KEY")
        monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    said = []
    run = start(recipe(), name="a", directory=directory, say=said.append)
    log(run, range(3))
    run.finish("finished")
    assert len(said) == 1 and "offline" in said[0] and capfd.readouterr() == ("", "")


def test_service_dies(server, directory, recipe, monkeypatch):
    monkeypatch.setattr(client, "FINISH_SECONDS", 6)
    said = []
    run = start(recipe(), name="a", directory=directory, say=said.append)
    log(run, range(3))
    for child in psutil.Process().children(recursive=True):
        if "wandb-core" in child.name():
            os.kill(child.pid, signal.SIGKILL)
    until(lambda: log(run, range(3, 2000)) or said)
    run.summary({"a": 1})
    run.finish("finished")
    assert len(said) == 1 and "the training goes on" in said[0]


def test_disabled_leaves_nothing(directory, recipe):
    settings = {"mode": "disabled", "project": "raykd", "entity": "", "group": "", "tags": []}
    run = start(recipe(wandb=settings), name="a", directory=directory)
    log(run, range(3))
    run.finish("finished")
    assert not (directory / "wandb.json").exists() and not (directory / "wandb").exists()


def test_key_is_nowhere(server, directory, recipe, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(client, "FINISH_SECONDS", 6)
    monkeypatch.setattr("sys.argv", ["raykd", "--token", "another0secret"])
    said = []
    run = start(recipe(), name="a", directory=directory, say=said.append)
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


def test_thin_lines_keep_to_their_share(server, directory, recipe, monkeypatch):
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


def test_transaction_log_round_trip():
    records = [bytes([i % 256]) * size for i, size in enumerate([0, 1, 32768 - 7 - 7 - 3, 5, 100_000, 32761, 32762, 7])]
    content = write_log(b":W&B\xe1\xbe\x00", records)
    assert len(content) > HEADER and list(read_log(content)) == records
    assert list(read_log(content[:-3])) == records[:-1], "a torn end loses the last record alone"


def test_run_in_a_remote_storage_stays_one_run(server, directory, recipe, tmp_path):
    """A worker on another machine finds the run's id and what the server lacks in the storage; `sync` does too."""
    from raykd.commands import sync as command
    from raykd.storage.folder import Folder
    from raykd.storage.local_copy import LocalCopy, of_tracking

    place = f"local://{tmp_path}/far"  # fsspec's name for files of this machine: not a local path to raykd

    def part(mode, steps):
        mirror = LocalCopy(Folder(place))
        mirror.download(of_tracking)
        run = start(recipe(mode=mode), name="a", directory=mirror.path, resume_step=max(steps[0] - 1, 0))
        log(run, steps)
        run.finish("stopped")
        mirror.upload(of_tracking)
        time.sleep(1)  # W&B names the folder of a part by the second in which it starts
        return run.id

    assert part("offline", range(4)) == part("offline", range(4, 8))
    assert command.run([place]) == 0
    assert [row["terms/ce"] for row in server.history(part("offline", range(8, 9)))] == [1 / (s + 1) for s in range(8)]
    waiting = json.loads((tmp_path / "far/wandb.json").read_text())["parts"]
    assert [one["uploaded"] for one in waiting] == [True, True, False]


def test_nothing_but_the_runs_own_files_is_uploaded(server, directory, recipe, tmp_path):
    """Somebody else made the run: files that its log and its wandb.json name, links, and pipes stay here."""
    (tmp_path / "secret").write_text("PRIVATE")
    settings = {"mode": "offline", "project": "raykd", "entity": "", "group": "", "tags": []}
    run = start(recipe(wandb=settings), name="a", directory=directory)
    log(run, range(3))
    artifact = client.quiet_wandb().Artifact("loot", type="dataset")
    artifact.add_file(str(tmp_path / "secret"), policy="immutable")
    run.wandb_run.log_artifact(artifact)
    run.artifact(directory / "student.safetensors", {"top1": 0.5})
    run.finish("finished")
    (files,) = directory.glob("wandb/offline-run*/files")
    for name in ("metrics.jsonl", "stolen.txt"):
        (files / name).unlink(missing_ok=True)
        (files / name).symlink_to(tmp_path / "secret")
    (line,) = sync([str(directory)])
    assert "uploaded" in line and steps(server, run.id) == [0, 1, 2]
    assert b"PRIVATE" not in b"".join(server.uploads.values()) + b"".join(server.bodies)
    assert server.uploads["artifact0/student.safetensors"] == b"weights"


HOSTILE = {
    "another file": {"artifacts": [{"file": "/etc/passwd", "metadata": {}}]},
    "a file above": {"artifacts": [{"file": "../../secret", "metadata": {}}]},
    "a folder above": {"parts": [{"folder": "../..", "uploaded": False}]},
    "an absolute folder": {"parts": [{"folder": "/root", "uploaded": False}]},
    "no text": {"project": 5},
    "an id that is a path": {"id": "../../x"},
    "no list": {"parts": 3},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_wandb_json_that_raykd_did_not_write_is_refused(server, directory, case):
    (directory / "wandb.json").write_text(json.dumps({"id": "abc", "project": "raykd", "entity": ""} | HOSTILE[case]))
    with pytest.raises(UserError, match="wandb.json was changed or damaged"):
        sync([str(directory)])
    assert not server.uploads


def test_a_run_goes_only_where_its_user_wants_it(server, directory, recipe):
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
    assert "uploaded" in line and steps(server, run.id) == [0, 1, 2]


def test_a_log_that_names_another_project_goes_to_the_runs_own(server, directory, recipe):
    settings = {"mode": "offline", "project": "loot", "entity": "stranger", "group": "", "tags": []}
    run = start(recipe(wandb=settings), name="a", directory=directory)
    log(run, range(3))
    run.finish("finished")
    known = json.loads((directory / "wandb.json").read_text())
    (directory / "wandb.json").write_text(json.dumps(known | {"project": "raykd", "entity": ""}))
    sync([str(directory)])
    assert steps(server, run.id) == [0, 1, 2]
    # The run's configuration holds the recipe, with what it says of W&B.
    addresses = [body for body in server.bodies if b"entity" in body and b"config" not in body]
    assert addresses and not any(b"stranger" in body or b"loot" in body for body in addresses)


def test_the_recipe_says_where_a_run_goes_and_not_the_directory(server, directory, recipe):
    (directory / "wandb.json").write_text(json.dumps({"id": "theirs", "project": "loot", "entity": "stranger"}))
    run = start(recipe(), name="a", directory=directory)
    log(run, range(3))
    run.finish("finished")
    assert run.id != "theirs" and run.note.project == "raykd" and run.note.entity == "someone"

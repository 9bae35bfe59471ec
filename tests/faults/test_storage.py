"""Storage that is full, read-only or temporarily unreachable, damaged files, and two concurrent writers."""

import errno
import json
import os
import signal
import subprocess
import threading
import time

import pytest
import torch

from raykd import UserError
from raykd.contract import Placement
from raykd.launch.run_state.client import Client
from raykd.launch.worker.run_files import RunFiles
from raykd.recipe.serial import to_dict
from raykd.recipes.digits.supervised import recipe as digits
from raykd.runs import attempts, directory, metrics_log
from raykd.runs.checkpoints import checkpoint, stamps
from raykd.runs.checkpoints.writer import Writer
from raykd.runs.listing import listed
from raykd.runs.results.read import read_result
from raykd.storage import lease, retry
from raykd.storage.folder import Folder
from tests.faults.stage import same

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def run(tmp_path):
    folder = Folder(tmp_path / "run")
    folder.create()
    return folder


@pytest.fixture
def hasty(monkeypatch):
    """Shortens the pauses between retries."""
    monkeypatch.setattr("raykd.runs.checkpoints.writer.LONGEST_PAUSE", 0.02)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.02)


def state(value):
    return {"step": 1, "w": torch.full((1000,), float(value))}


def breaks(monkeypatch, error=FULL):
    """Make every write fail until the event is set; returns the event."""
    mended, write = threading.Event(), Folder.write

    def broken(self, name, content):
        if not mended.is_set():
            raise error
        write(self, name, content)

    monkeypatch.setattr(Folder, "write", broken)
    return mended


def test_training_continues_on_a_full_disk_and_the_newest_state_is_written_later(run, monkeypatch, hasty):
    mended, said = breaks(monkeypatch), []
    writer = Writer(run, 2, "f", said.append)
    for step in (1, 2, 3):
        writer.save(state(step), step, step / 10, None)  # returns, though nothing can be written
        time.sleep(0.05)
    assert len(said) == 1 and "No space left" in said[0] and "training continues" in said[0]
    mended.set()
    writer.wait()
    found, stamp = checkpoint.newest(run, pytest.fail)
    assert stamp.step == 3 and found["w"][0] == 3
    assert len(said) == 2 and "written again" in said[1]


def test_a_disk_that_stays_full_ends_the_run(run, monkeypatch, hasty):
    breaks(monkeypatch)
    writer = Writer(run, 2, "f", lambda line: None)
    writer.save(state(1), 1, 0.1, None)
    with pytest.raises(OSError, match="No space left"):
        writer.wait(seconds=0.3)


def test_a_failing_write_is_retried_and_reported(run, monkeypatch, hasty):
    mended, said = breaks(monkeypatch), []
    threading.Timer(0.7, mended.set).start()
    retry.patiently(lambda: run.write("result.json", "{}"), "writing the result", said.append)
    assert run.read_json("result.json") == {} and len(said) == 2
    mended.clear()
    monkeypatch.setattr(retry, "PATIENCE", 0.1)
    with pytest.raises(OSError):
        retry.patiently(lambda: run.write("x", ""), "writing", said.append)


def test_a_real_full_disk_is_survived(tmp_path, hasty):
    """A file system of 400 KiB: a checkpoint that doesn't fit leaves the previous one intact."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        run, said = Folder(place / "run"), []
        run.create()
        writer = Writer(run, 1, "f", said.append)
        writer.save({"w": torch.zeros(20_000)}, 1, 0.1, None)
        writer.wait()
        (place / "ballast").write_bytes(bytes(280_000))
        writer.save({"w": torch.ones(20_000)}, 2, 0.2, None)
        while not said:
            time.sleep(0.01)
        assert "No space left" in said[0] and checkpoint.newest(run, pytest.fail)[1].step == 1
        (place / "ballast").unlink()
        writer.wait()
        assert checkpoint.newest(run, pytest.fail)[1].step == 2
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_metric_lines_are_appended_later_exactly_once(run, monkeypatch):
    journal = metrics_log.MetricsLog(run, 0)
    journal.flush()
    append, calls = Folder.append, []

    def torn(self, name, line):
        calls.append(line)
        if len(calls) == 2:
            with open(run.local / name, "a") as file:
                file.write(line[:5])
            raise FULL
        append(self, name, line)

    monkeypatch.setattr(Folder, "append", torn)
    for step in (1, 2, 3):
        journal.add({"step": step})
        try:
            journal.flush()
        except OSError:
            assert step == 2
    assert [line["step"] for line in metrics_log.lines(run)] == [1, 2, 3]
    assert run.read("metrics.jsonl").count(b"\n") == 3


def test_a_checkpoint_is_written_after_its_metric_lines(run):
    order = []
    writer = Writer(run, 2, "f", print, lambda: order.append("lines"), lambda step: order.append(step))
    writer.save(state(1), 1, 0.1, None)
    writer.wait()
    assert order == ["lines", 1]


def test_a_replaced_worker_no_longer_writes(run):
    run.write("recipe.json", "{}")
    first = attempts.claim(run, 2)
    writer = Writer(run, 2, "f", print, lambda: attempts.expect_mine(run, first))
    writer.save(state(1), 1, 0.1, None)
    writer.wait()
    attempts.claim(run, 2)
    writer.save(state(2), 2, 0.2, None)
    with pytest.raises(attempts.Superseded, match="taken"):
        writer.wait()
    with pytest.raises(attempts.Superseded):
        writer.save(state(3), 3, 0.3, None)
    assert [stamp.step for stamp in stamps.stamps(run)] == [1]


def test_unreachable_storage_is_not_mistaken_for_a_new_run(run):
    """An empty mount point must not start a first attempt or a run from scratch."""
    for action in (lambda: attempts.claim(run, 1), lambda: attempts.expect_mine(run, "t")):
        with pytest.raises(FileNotFoundError, match="gone"):
            action()
    assert run.names() == []


class Listening(Client):
    """A client whose driver has, or has not, seen workers before."""

    def __init__(self, takes_over):
        super().__init__()
        self.takes_over, self.told = lambda: takes_over, []

    def copying(self, line):
        self.told.append(line)


def test_a_replacement_worker_waits_for_unreachable_storage(run, hasty):
    files = RunFiles(run, Placement(torch.device("cpu"), 1), print)
    with pytest.raises(UserError, match="storage: node .* can't see"):
        files.expect_visible(Client())
    back = threading.Timer(1, lambda: run.write("recipe.json", "{}"))
    back.start()
    client = Listening(takes_over=True)
    files.expect_visible(client)
    back.join()
    assert "trying again" in client.told[0] and "works again" in client.told[-1]


def test_partial_files_of_a_crash_are_removed(run):
    (run.local / "checkpoints/step-000000003").mkdir(parents=True)
    (run.local / "checkpoints/step-000000003/.state.pt.7.tmp").write_bytes(b"half")
    for step in (2, 5):
        checkpoint.write(run, state(step), step=step, epoch=0.1, top1=None, fingerprint="f")
    checkpoint.prune(run, 2)
    assert run.names("checkpoints") == ["step-000000002", "step-000000005"]


@pytest.mark.parametrize("place", ["local", "memory://held"])
def test_a_second_run_of_the_same_name_is_rejected(tmp_path, place, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.1)
    run = Folder(tmp_path if place == "local" else place)
    run.create()
    with lease.held(run, print):
        monkeypatch.setattr(lease, "machine", lambda: "another machine")
        with pytest.raises(UserError, match="--name"), lease.held(run, print):
            pass
    with lease.held(run, pytest.fail):
        pass
    assert not run.exists(lease.FILE)


def test_a_dead_holder_on_another_machine_is_replaced_after_a_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "STALE", 1.5)
    run, said = Folder(tmp_path), []
    run.write(lease.FILE, json.dumps({"token": "t", "machine": "gone", "host": "node-7", "pid": 1, "beat": 4}))
    with lease.held(run, said.append) as token:
        assert run.read_json(lease.FILE)["token"] == token
    assert "node-7" in said[0]


def test_a_dead_holder_on_this_machine_is_replaced_at_once(tmp_path):
    run = Folder(tmp_path)
    about = {"token": "t", "machine": lease.machine(), "host": "here", "pid": 2**22 + 1, "beat": 4}
    run.write(lease.FILE, json.dumps(about))
    with lease.held(run, pytest.fail):
        pass
    remote = Folder("memory://dead")
    remote.write(lease.FILE, json.dumps(about))
    with lease.held(remote, pytest.fail):
        pass


def test_checking_whether_a_run_is_in_use_has_no_effect(tmp_path, monkeypatch):
    """It takes no lock, which would make a run that starts at that moment fail."""
    run = Folder(tmp_path)
    assert not lease.in_use(run)
    with lease.held(run, pytest.fail), monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", lambda *arguments: pytest.fail("a lock was taken"))
        assert lease.in_use(run)
        about = run.read_json(lease.FILE)
    assert not lease.in_use(run)
    for other in ({"pid": 2**22 + 1}, {"started": about["started"] + 1}, {"machine": "gone"}, {"pid": "1/../1\0"}):
        run.write(lease.FILE, json.dumps(about | other))
        assert not lease.in_use(run), other


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("s3:/bucket/runs", "s3:/bucket/runs is not a URI: write s3://BUCKET/FOLDER"),
        ("gs:bucket", "gs:bucket is not a URI"),
        ("a\0b", "'a\\x00b' is not a path"),
        ("file:/tmp/runs", "file:/tmp/runs is not a URI"),
        ("file://runs", "file://runs is not a URI"),
        ("ftp://127.0.0.1:1/runs", "can't use ftp://127.0.0.1:1/runs as storage"),
        ("nothing://host/runs", "can't use nothing://host/runs as storage"),
        ("hdfs://host:1/runs", "can't use hdfs://host:1/runs as storage"),
        ("zip://away.zip", "can't use zip://away.zip as storage"),
    ],
)
def test_an_invalid_storage_is_rejected_in_one_line(tmp_path, monkeypatch, place, says):
    """With a single slash it would be a local folder called "s3:"."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refused:
        Folder(place).create()
    assert str(refused.value).startswith(says) and "\n" not in str(refused.value)
    assert not any(tmp_path.iterdir())


def test_folder_names_may_contain_a_colon(tmp_path):
    Folder(tmp_path / "2026:runs").create()
    Folder(f"file://{tmp_path}/plain").create()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026:runs", "plain"]


def test_pipes_in_a_run_directory_are_named_and_do_not_block(tmp_path):
    """Reading a pipe without a writer would block forever."""
    run = Folder(tmp_path / "runs" / "kd")
    run.create()
    run.write("recipe.json", json.dumps(to_dict(digits)))
    for name in ("attempts.json", "teachers.json", "data.json", lease.FILE, "result.json"):
        os.mkfifo(run.local / name)
    for read in (attempts.attempts_of, directory.trained_teachers, read_result):
        with pytest.raises(UserError, match="is not a regular file"):
            read(run)
    assert not lease.in_use(run)
    (line,) = listed(Folder(tmp_path / "runs"))
    assert line.status == "can't be read"
    os.unlink(run.local / "result.json")
    os.unlink(run.local / "attempts.json")
    for started in (1e300, "x", True):
        run.write("attempts.json", json.dumps([{"token": "t", "started": started}]))
        (line,) = listed(Folder(tmp_path / "runs"))
        assert line.name == "kd"


def test_read_only_storage_is_rejected_before_anything_starts(stage, tmp_path):
    place = tmp_path / "fixed"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=100k", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        process = stage.train(stage.recipe("supervised"), "x", "--storage", place)
        assert process.end() == 2 and "--storage" in process.said
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("left", ["a file", "an empty folder"])
def test_a_run_continues_while_its_storage_is_unreachable(stage, left):
    """The run's folder is temporarily replaced by an empty mount point, into which nothing may be written."""
    name = f"away-{left[-4:]}"
    process = stage.start(stage.recipe("supervised", "", "sleep=0.15"), name)
    stage.wait_for(name, 6)
    place, aside = stage.storage / name, stage.storage / f"aside-{left[-4:]}"
    place.rename(aside)
    if left == "a file":
        place.write_text("not a folder")
    else:
        place.mkdir()
    while "can't be written" not in process.said:
        time.sleep(0.05)
        assert process.process.is_alive(), process.said
    time.sleep(1)
    if left == "a file":
        place.unlink()
    else:
        place.rmdir()  # fails where anything has been written
    aside.rename(place)
    assert process.end() == 0 and "written again" in process.said
    assert same(stage.state(name), stage.state(stage.whole("supervised"))) == []
    assert len(metrics_log.lines(stage.run(name))) == 1


def test_sigterm_saves_a_checkpoint_at_the_next_step(stage):
    recipe = stage.recipe("supervised", 'epochs=4.0, checkpoint=Checkpoint(every="never")', "sleep=0.05")
    process = stage.start(recipe, "terminated")
    first = stage.wait_for("terminated", 22)  # the first epoch's
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGTERM)
    assert process.end() == 143
    assert stamps.stamps(stage.run("terminated"))[-1].step > first
    assert "stopped at step" in process.said and "continues from there" in process.said


def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(stage):
    recipe = stage.recipe("supervised", "", "deaths=(0.7,)")
    assert stage.train(recipe, "damaged").end() == -9
    newest = stamps.stamps(stage.run("damaged"))[-1]
    path = stage.storage / f"damaged/checkpoints/step-{newest.step:09d}/state.pt"
    path.write_bytes(path.read_bytes()[:-100])
    process = stage.train(recipe, "damaged")
    assert (
        process.end() == 0
        and path.parent.name in process.said.replace("\n", "")
        and "the previous one is used" in process.said
    )
    assert same(stage.state("damaged"), stage.state(stage.whole("supervised"))) == []

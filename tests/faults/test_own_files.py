"""Files written by raykd are complete or absent, never written through links, and dead processes leave none behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raykd import UserError
from raykd.storage import atomic, lease
from raykd.storage.folder import Folder

ROOT = Path(__file__).parents[2]


class Full(Exception):
    pass


def test_a_failed_write_leaves_the_old_file_unchanged(tmp_path):
    file = tmp_path / "report.html"
    file.write_text("old")
    with pytest.raises(Full), atomic.replacing(file) as temporary:
        temporary.write_text("half of the n")
        raise Full
    assert file.read_text() == "old" and os.listdir(tmp_path) == ["report.html"]
    with atomic.replacing(file) as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".html" and file.read_text() == "old"
    assert file.read_text() == "new" and os.listdir(tmp_path) == ["report.html"]


def die_while(code: str, folder: Path) -> None:
    """Run Python code in a process that is killed once it has printed a line."""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout.readline().strip() == b"ready"
    process.send_signal(signal.SIGKILL)
    process.wait()


WRITING = """
from pathlib import Path
from raykd.storage import atomic
with atomic.replacing(Path("run/deep/result.json")) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    import time; time.sleep(60)
"""


def test_files_of_a_killed_writer_are_removed_by_the_next_holder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    die_while(WRITING, tmp_path)
    (tmp_path / "run" / ".lease.json.123.tmp").write_text("of an earlier version")
    assert len(list(tmp_path.rglob(".*.tmp*"))) == 2
    with lease.held(Folder(tmp_path / "run"), print):
        assert not list(tmp_path.rglob(".*.tmp*"))


def test_files_of_a_living_writer_are_kept(tmp_path):
    with atomic.replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("whole")
        atomic.clear(tmp_path)
    assert (tmp_path / "a.json").read_text() == "whole"


def test_a_temporary_folder_leaves_no_open_file():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with atomic.temporary_folder() as folder:
            (folder / "file").touch()
    assert len(os.listdir("/proc/self/fd")) == before and not folder.exists()


def test_the_temporary_folder_of_a_dead_process_is_removed_later(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mine = atomic.scratch()
    code = "from raykd.storage import atomic; (atomic.scratch() / 'file').touch(); print('ready', flush=True); input()"
    die_while(code, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    with atomic.temporary_folder() as another:
        assert {*tmp_path.iterdir()} == {mine, another}
    assert [*tmp_path.iterdir()] == [mine]


@pytest.fixture
def run(tmp_path):
    folder = Folder(tmp_path / "run")
    folder.create()
    return folder


def precious(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").write_text("precious")
    return tmp_path / "home" / "file"


def test_a_lock_file_that_is_a_link_is_rejected(run, tmp_path):
    target = precious(tmp_path)
    (run.local / ".lock").symlink_to(target)
    with pytest.raises(UserError, match=r"can't lock .*remove .*\.lock"), lease.held(run, print):
        pass
    assert target.read_text() == "precious"


def test_a_lock_file_is_never_emptied(run):
    (run.local / ".lock").write_text("something")
    with lease.held(run, print):
        pass
    assert (run.local / ".lock").read_text() == "something"


WRITES = {
    "write": lambda run, name: run.write(name, b"x"),
    "append": lambda run, name: run.append(name, "x"),
    "delete": lambda run, name: run.delete(name),
}


@pytest.mark.parametrize("kind", WRITES)
def test_links_never_redirect_writes_out_of_a_run(run, tmp_path, kind):
    target = precious(tmp_path)
    (run.local / "linked.json").symlink_to(target)
    (run.local / "checkpoints").symlink_to(target.parent)
    with pytest.raises(UserError, match="checkpoints is a link"):
        WRITES[kind](run, "checkpoints/file")
    try:
        WRITES[kind](run, "linked.json")
    except OSError as error:
        assert kind == "append" and "symbolic" in str(error)
    assert target.read_text() == "precious" and target.parent.is_dir()


def test_links_above_a_run_directory_are_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    (Folder(tmp_path / "runs") / "digits/kd").write("recipe.json", "{}")
    assert (tmp_path / "disk/digits/kd/recipe.json").read_text() == "{}"


def test_a_linked_wandb_json_is_not_overwritten(run, tmp_path):
    from raykd.track.state import read_state

    target = precious(tmp_path)
    target.write_text("{}")
    (run.local / "wandb.json").symlink_to(target)
    read_state(run.local).write()
    assert target.read_text() == "{}" and not (run.local / "wandb.json").is_symlink()


def test_a_linked_history_is_not_appended_to(run, tmp_path):
    from raykd.track.history import FILE, record

    target = precious(tmp_path)
    record(run.local, {"step": 1, "values": {"top1": 0.5}})
    (run.local / FILE).unlink()
    (run.local / FILE).symlink_to(target)
    with pytest.raises(OSError):
        record(run.local, {"step": 2, "values": {"top1": 0.5}})
    assert target.read_text() == "precious"


def test_names_are_appended_to_the_path_of_a_uri():
    folder = Folder("s3://KEY:SECRET@bucket/x?region=us-east-1&endpoint_override=127.0.0.1:9")
    run = folder / "digits/kd"
    assert run.location == "s3://KEY:SECRET@bucket/x/digits/kd?region=us-east-1&endpoint_override=127.0.0.1:9"
    assert run._root == "bucket/x/digits/kd" and run._fs.region == "us-east-1"
    assert "SECRET" not in str(run) and str(run).startswith("s3://***@bucket/x/digits/kd")


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("mount"), reason="mounts a small disk")
@pytest.mark.parametrize("command", ["train", "report", "export"])
def test_a_full_disk_is_one_line_and_loses_nothing(command, tmp_path):
    disk, place = tmp_path / "disk", tmp_path / "runs"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        for name in ("old.html", "old.safetensors"):
            (disk / name).write_text("old")
        quick = "--workers 0 --epochs 0.1 --wandb.mode disabled".split()
        train = ["train", "recipes/digits/supervised.py", *quick, "--name", "a"]
        if command != "train":
            assert raykd(*train, "--storage", place).returncode == 0
        subprocess.run(["bash", "-c", 'head -c 300k /dev/zero >"$0"', disk / "fill"], stderr=subprocess.DEVNULL)
        done = {
            "train": lambda: raykd(*train, "--storage", disk),
            "report": lambda: raykd("report", place / "a", "--out", disk / "old.html"),
            "export": lambda: raykd("export", place / "a", "--to", disk / "old.safetensors"),
        }[command]()
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "space" in done.stderr, done.stderr
        assert (disk / "old.html").read_text() == (disk / "old.safetensors").read_text() == "old"
        assert not list(disk.rglob(".*.tmp*"))
    finally:
        for _ in range(20):
            if not subprocess.run(["umount", disk], capture_output=True).returncode:
                break
            time.sleep(0.2)


def raykd(*words) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "raykd", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

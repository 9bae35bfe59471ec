"""The files that `raykd submit` sends, and the interpretation of a job's status."""

import subprocess
from types import SimpleNamespace

import pytest

from raykd import UserError
from raykd.commands.submit import passed_on
from raykd.launch.jobs import pack, submit, wandb_key


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    kept = ["mine.py", "parts/more.py", "data/images.bin"]
    for name in [*kept, "runs/a/result.json", ".env", ".venv/lib.py", "parts/wandb/x"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def packed(folder, into):
    into.mkdir()
    pack.pack(folder, into)
    return {str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()}


def test_ignored_hidden_and_run_files_are_not_sent(project, tmp_path):
    subprocess.run(["git", "init", "-q", project], check=True)
    (project / ".gitignore").write_text("data/\n")
    sent = packed(project, tmp_path / "sent")
    assert {name for name in sent if not name.startswith("raykd/")} == {"mine.py", "parts/more.py"}
    assert "raykd/__main__.py" in sent  # this version, whatever the image has
    assert not any("__pycache__" in name for name in sent)


def test_folders_without_git_are_sent(project, tmp_path):
    sent = packed(project, tmp_path / "sent")
    assert {name for name in sent if not name.startswith("raykd/")} == {"mine.py", "parts/more.py", "data/images.bin"}


def git(folder, *words):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, "-C", folder, *words], check=True, capture_output=True)


def own(folder, into):
    return {name for name in packed(folder, into) if not name.startswith("raykd/")}


def test_submodules_and_linked_folders_follow_their_own_gitignore(project, tmp_path):
    for name in ("sub", "linked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text("")
        (tmp_path / name / "big.bin").write_text("")
        (tmp_path / name / ".gitignore").write_text("*.bin\n")
        git(tmp_path / name, "init", "-q")
        git(tmp_path / name, "add", ".")
        git(tmp_path / name, "commit", "-qm", "x")
    git(project, "init", "-q")
    git(project, "submodule", "--quiet", "add", str(tmp_path / "sub"), "third_party/sub")
    (project / "linked").symlink_to(tmp_path / "linked")
    (project / "loop").symlink_to(project)
    sent = own(project, tmp_path / "sent")
    assert {"third_party/sub/code.py", "linked/code.py", "mine.py"} <= sent
    assert not any("loop" in name or name.endswith("sub/big.bin") for name in sent) and "linked/big.bin" not in sent


@pytest.mark.parametrize("folder", ["cluster", "build", "tests", "dist"])
def test_recipe_folders_may_have_any_name(project, tmp_path, folder):
    (project / folder).mkdir()
    (project / folder / "kd.py").write_text("")
    assert f"{folder}/kd.py" in own(project, tmp_path / "sent")


def test_nothing_is_sent_if_git_fails(project, monkeypatch):
    git(project, "init", "-q")
    (project / ".gitignore").write_text("data/\n")
    (project / ".git" / "HEAD").write_text("damaged")
    with pytest.raises(UserError, match="git does not list"):
        pack.files(project)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="git can't be run"):
        pack.files(project)


def test_undecodable_file_names_are_not_sent(project, tmp_path):
    import os

    git(project, "init", "-q")
    with open(os.fsencode(project) + b"/caf\xe9.py", "w"):
        pass
    assert "mine.py" in own(project, tmp_path / "sent")


def test_a_home_folder_is_not_sent(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in ("/", tmp_path):
        with pytest.raises(UserError, match="as a whole: submit from"):
            pack.pack(type(tmp_path)(folder), tmp_path / "sent")


def test_a_checkout_of_raykd_is_sent_as_it_is(project, tmp_path):
    (project / "raykd").mkdir()
    (project / "raykd" / "__init__.py").write_text("")
    assert "raykd/__main__.py" not in packed(project, tmp_path / "sent")


def test_a_too_large_folder_is_rejected(project, tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "MOST", 4_000_000)
    with open(project / "data" / "images.bin", "wb") as file:
        file.truncate(9_000_000)
    (tmp_path / "sent").mkdir()
    with pytest.raises(UserError, match=r"largest: data 9 MB.*\.gitignore"):
        pack.pack(project, tmp_path / "sent")
    assert not list((tmp_path / "sent").iterdir())


def test_the_key_file_is_readable_only_by_its_owner(tmp_path):
    wandb_key.put(tmp_path, "secret")
    assert (tmp_path / wandb_key.FILE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        wandb_key.put(tmp_path, "other")


@pytest.mark.parametrize(
    "address, expected",
    [("http://127.0.0.1:8265", True), ("http://localhost:1", True), ("https://ray.example.org", True),
     ("http://ray.example.org:8265", False), ("http://10.0.0.4:8265", False)],
)  # fmt: skip
def test_a_key_is_sent_only_over_safe_connections(address, expected):
    assert submit.private(address) is expected


def test_options_of_submit_are_not_passed_to_the_job():
    words = ["--address", "http://x", "--epochs", "3", "--storage=/a b", "--name", "it's"]
    kept = passed_on(words)
    assert kept == ("--epochs", "3", "--name", "it's")
    job = submit.Job("train", "recipes/digits/kd.py", kept, "digits/kd")
    assert job.entrypoint == """python -m raykd train recipes/digits/kd.py --epochs 3 --name 'it'"'"'s'"""
    assert job.new_id() != job.new_id()


@pytest.mark.parametrize(
    "status, code, expected",
    [("SUCCEEDED", 0, 0), ("FAILED", 2, 2), ("FAILED", -9, 137), ("STOPPED", -15, 143), ("STOPPED", None, 143),
     ("FAILED", None, 1)],
)  # fmt: skip
def test_the_exit_status_is_extracted_from_the_message(status, code, expected):
    from ray.job_submission import JobStatus

    info = SimpleNamespace(status=JobStatus(status), driver_exit_code=code)
    assert submit.Submitted("x", "", SimpleNamespace(get_job_info=lambda job: info)).exit_status == expected


def test_relative_storage_is_rejected_in_a_job(monkeypatch):
    from raykd.launch.driver import run as job

    monkeypatch.delenv("RAYKD_STORAGE", raising=False)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    assert job.default_storage() == "runs"
    job.lasting("runs")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert job.default_storage() == "~/raykd/runs"
    for place in ("~/raykd/runs", "/shared/runs", "s3://bucket/runs"):
        job.lasting(place)
    with pytest.raises(UserError, match="storage: 'runs' is relative, and would be lost"):
        job.lasting("runs")
    monkeypatch.setenv("RAYKD_STORAGE", "s3://bucket/runs")
    assert job.default_storage() == "s3://bucket/runs"

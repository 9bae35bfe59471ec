"""Recipes as Ray jobs, on a Ray head that the test starts."""

import hashlib
import json
import shutil
import subprocess
import time

import pytest
import requests

from tests.cluster.head import KEY, ROOT, Head, head

QUICK = ("recipes/digits/supervised.py", "--workers", "0", "--epochs", "1", "--wandb.mode", "disabled")


@pytest.fixture(scope="module")
def local():
    with head(2) as one:
        yield one


def token(one: Head) -> dict[str, str]:
    return {"Authorization": f"Bearer {(one.folder / 'token').read_text()}"}


def job_id(text: str) -> str:
    return next(line.split()[1].rstrip(":") for line in text.splitlines() if line.startswith("job "))


def test_a_job_is_followed_to_its_end_and_keeps_its_results(local):
    done = local.run("raykd", "submit", *QUICK, "--address", local.dashboard)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch    1" in done.stdout and f"dashboard {local.dashboard}/#/jobs/" in done.stdout
    assert "succeeded, exit status 0" in done.stdout and not done.stderr
    # The job ran in a copy of the folder that Ray throws away; its storage is not in there, and the log says where.
    (place,) = [line.removeprefix("storage: ") for line in done.stdout.splitlines() if line.startswith("storage: ")]
    assert place == f"{local.folder}/raykd/runs"
    assert (local.folder / "raykd/runs/digits/supervised/result.json").is_file()


def test_the_exit_status_is_the_jobs(local):
    wrong = ("--address", local.dashboard, "--name", "wrong", "--student.name", "resnet9")
    failed = local.run("raykd", "submit", *QUICK, *wrong)
    assert failed.returncode == 2
    assert "raykd: unknown network 'resnet9'" in failed.stdout and "failed, exit status 2" in failed.stdout


def test_a_token_is_required(local):
    (local.folder / "wrong").write_text("0" * 64)
    path = str(local.folder / "wrong")
    refused = local.run("raykd", "submit", *QUICK, "--address", local.dashboard, RAY_AUTH_TOKEN_PATH=path)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "RAY_AUTH_TOKEN" in refused.stderr
    assert requests.get(f"{local.dashboard}/api/jobs/", timeout=10).status_code in (401, 403)


def test_an_unreachable_dashboard_is_reported(local):
    nobody = local.run("raykd", "submit", *QUICK, "--address", "http://127.0.0.1:9")
    assert nobody.returncode == 2 and "no usable Ray job server" in nobody.stderr and nobody.stderr.count("\n") == 1


def test_the_wandb_key_is_never_shown(local):
    """The key is in the submitter's netrc. The job gets it; the job's metadata, its log and Ray's logs don't contain
    it."""
    recipe = local.folder / "spied" / "spy.py"
    recipe.parent.mkdir()
    shutil.copy(ROOT / "recipes/digits/supervised.py", recipe.parent)
    recipe.write_text(
        "import hashlib, pathlib\nfrom supervised import recipe\nfound = pathlib.Path('.wandb-key')\nif "
        "found.exists():\n    print('hash', hashlib.sha256(found.read_bytes()).hexdigest(), "
        "oct(found.stat().st_mode)[-3:])\n"
    )
    inside = (
        "raykd",
        "submit",
        str(recipe),
        "--address",
        local.dashboard,
        "--workers",
        "0",
        "--student.name",
        "resnet9",
    )
    done = local.run(*inside)
    sent = job_id(done.stdout)
    assert "W&B key: sent as a file of mode 0600" in done.stdout
    info = requests.get(f"{local.dashboard}/api/jobs/{sent}", headers=token(local), timeout=10).text
    log = requests.get(f"{local.dashboard}/api/jobs/{sent}/logs", headers=token(local), timeout=10).text
    assert json.loads(info)["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "60"}
    assert f"hash {hashlib.sha256(KEY.encode()).hexdigest()} 600" in log
    assert KEY not in info + log + done.stdout + done.stderr
    holding = subprocess.run(["grep", "-rIl", KEY, local.folder / "ray"], capture_output=True, text=True).stdout.split()
    assert all(path.endswith("/.wandb-key") for path in holding)
    jobs = local.run("ray", "list", "jobs", "--detail", "--address", local.dashboard)
    assert sent in jobs.stdout and KEY not in jobs.stdout


@pytest.mark.slow
def test_a_stopped_job_resumes_when_submitted_again(local):
    """`ray job stop` leaves a checkpoint, and the same command continues from there."""
    storage = str(local.folder / "runs")
    words = ("recipes/digits/supervised.py", "--epochs", "40", "--wandb.mode", "disabled", "--storage", storage)
    submit = local.start("raykd", "submit", *words, "--address", local.dashboard)
    lines = []
    for line in submit.stdout:
        lines.append(line)
        if "epoch    2" in line:
            stopped = local.run("ray", "job", "stop", job_id("".join(lines)), "--address", local.dashboard)
            assert stopped.returncode == 0, stopped.stderr
    assert submit.wait(60) == 143, "".join(lines)
    assert any("stopped at step" in line for line in lines)
    step = int(next(line for line in lines if "stopped at step" in line).split("stopped at step ")[1].split(";")[0])
    assert step > 0
    run = local.folder / "runs" / "digits" / "supervised"
    assert not (run / "result.json").exists()
    time.sleep(2)
    again = local.run("ray", "job", "submit", "--address", local.dashboard, "--working-dir", ".", "--",
                      "python", "-m", "raykd", "train", *words)  # fmt: skip
    assert again.returncode == 0, again.stdout + again.stderr
    attempts = json.loads((run / "attempts.json").read_text())
    assert [attempt["step"] for attempt in attempts] == [0, step]
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [round(line["epoch"]) for line in metrics] == list(range(1, 41))

"""A run that an earlier version began goes on.

begun_by_0.1.0.tar.xz holds a run of commit 1865c16 (`raykd train recipes/digits/supervised.py --workers 0 --epochs 4`,
stopped by SIGTERM at step 44 of 84) and the student of the same run when it was not stopped.
"""

import json
import tarfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from raykd.__main__ import main

ARCHIVE = Path(__file__).parent / "begun_by_0.1.0.tar.xz"
ROOT = Path(__file__).parent.parent.parent


def test_a_run_started_with_0_1_0_resumes_identically(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    arguments = ["--workers", "0", "--epochs", "4", "--wandb.mode", "disabled", "--storage", str(tmp_path)]
    assert main(["train", "recipes/digits/supervised.py", *arguments, "--name", "begun"]) == 0
    run = tmp_path / "begun"
    attempts = json.loads((run / "attempts.json").read_text())
    assert [attempt["step"] for attempt in attempts] == [0, 44]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [22, 43, 64, 84]
    assert lines[2]["loss"] == pytest.approx(1.8685, rel=0.01)  # with the step before the stop, whose sum was kept
    expected, student = load_file(tmp_path / "expected.safetensors"), load_file(run / "student.safetensors")
    assert expected.keys() == student.keys()
    for name, value in expected.items():  # bit for bit on the processor that made it; others round otherwise
        torch.testing.assert_close(student[name], value, rtol=1e-2, atol=1e-2, msg=name)

"""Exports to a full disk or an impossible path: one line, and existing files are unchanged."""

import os
import shutil
import subprocess

import pytest

from raykd.__main__ import main


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 100 kB."""
    if os.getuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounts a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("may not mount")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize("name", ["s.safetensors", "s.onnx", "s.int8.onnx", "s.pt2", "folder/"])
def test_a_full_disk_keeps_the_older_file_and_leaves_no_partial_one(digits, small_disk, name, capsys):
    old = small_disk / name
    if not name.endswith("/"):
        old.write_text("old")
    assert main(["export", digits.location, "--to", f"{small_disk}/{name}"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "space" in said, said
    left = [path.name for path in small_disk.iterdir()]
    assert left == ([] if name.endswith("/") else [name])
    assert not left or old.read_text() == "old"


@pytest.mark.parametrize("to", ["/proc/s.onnx", "FILE/s.onnx", "https://host/s.onnx", "s3://bucket/folder/"])
def test_targets_that_cannot_be_written_are_rejected(digits, tmp_path, monkeypatch, to, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").touch()
    assert main(["export", digits.location, "--to", to]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and to.rstrip("/") in said, said
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]

"""Copying data from shared storage to a node's local disk."""

import json
import multiprocessing
from dataclasses import replace

import pytest

from raykd import UserError
from raykd.data.storage.prepare import prepare
from raykd.data.storage.staging import publish, stage
from raykd.recipes.digits.supervised import recipe


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A shared folder with the digits, published from a first node; used by all tests, so they must not modify it."""
    folder = tmp_path_factory.mktemp("shared")
    data = replace(recipe.data, root=str(tmp_path_factory.mktemp("first")), shared=str(folder))
    publish(data, lambda line: None)
    return folder


@pytest.fixture
def data(shared, tmp_path):
    return replace(recipe.data, root=str(tmp_path / "disk"), shared=str(shared))


def test_a_node_copies_complete_files_without_the_source(data, shared, monkeypatch):
    lines = []
    monkeypatch.setattr(type(data.source), "open", None)  # preparing here would need it
    stage(data, lines.append)
    found = prepare(data)
    (folder,) = shared.iterdir()
    assert found.train.read_bytes() == (folder / "train.beton").read_bytes()
    assert sum(line.endswith("MB") and "done" in line for line in lines) == 3
    assert not list(found.train.parent.glob(".*.tmp*"))
    lines.clear()
    stage(data, lines.append)
    assert not lines


def test_files_are_published_once(data, shared):
    (folder,) = shared.iterdir()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    publish(data, lambda line: None)
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_damaged_files_are_named(data, shared, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(shared, copy)
    (folder,) = copy.iterdir()
    content = bytearray((folder / "test.beton").read_bytes())
    content[5000] ^= 1
    (folder / "test.beton").write_bytes(content)
    damaged = replace(data, shared=str(copy))
    with pytest.raises(UserError, match=r"test\.beton is damaged"):
        stage(damaged, lambda line: None)
    (local,) = [path for path in (tmp_path / "disk").iterdir() if path.is_dir()]
    assert not (local / "manifest.json").exists() and not (local / "test.beton").exists()
    stage(data, lambda line: None)  # from the whole copy
    prepare(data)


def test_missing_files_are_reported(data, tmp_path):
    with pytest.raises(UserError, match="data.shared: .* contains no prepared files"):
        stage(replace(data, shared=str(tmp_path / "empty")), lambda line: None)


def test_shared_storage_may_be_any_file_system(data, shared):
    """fsspec's memory file system stands for S3: publish from the files of one node, stage on another."""
    import fsspec

    far = replace(data, shared="memory://digits")
    stage(data, lambda line: None)
    publish(far, lambda line: None)
    (name,) = [path for path in fsspec.filesystem("memory").ls("/digits", detail=False)]
    checksums = json.loads(fsspec.filesystem("memory").cat(f"{name}/checksums.json"))
    (folder,) = shared.iterdir()
    assert checksums == json.loads((folder / "checksums.json").read_text())


def _stage(data, lines):
    stage(data, lines.put)


def test_several_processes_of_a_node_copy_once(data):
    context = multiprocessing.get_context("spawn")
    lines = context.Queue()
    processes = [context.Process(target=_stage, args=(data, lines)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    said = [lines.get(timeout=5) for _ in range(3)]
    assert len(said) == 3 and lines.empty()
    prepare(data)

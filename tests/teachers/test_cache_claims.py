"""Processes that fill one cache concurrently: each batch is computed once, and dead processes block nobody."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from raykd.contract import Output
from raykd.teachers.cache import claims, folders
from raykd.teachers.cache.claims import Claims
from raykd.teachers.cache.formats import Full
from raykd.teachers.cache.row_files import Layout, RowFiles
from raykd.teachers.cache.teacher_cache import TeacherCache, TensorCache
from raykd.teachers.cache.write_behind import WriteBehind

BATCHES, SIZE, CLASSES = 12, 4, 3
CPU = torch.device("cpu")


def in_a_process(work) -> int:
    """A forked process that does some work and ends; returns its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        os._exit(1)


def ended_well(child: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def outputs(folder: Path, name: str, features: tuple[str, ...] = ()) -> list[Output]:
    """The outputs of all batches in one run; computed batches are recorded in a file."""
    tensors, writer = {}, WriteBehind(pytest.fail)
    for what in ("logits", *features):
        (folder / what).mkdir(exist_ok=True)
        form = Full((CLASSES,), "float32")
        files = RowFiles(folder / what, Layout(form.bytes, BATCHES * SIZE), pytest.fail)
        tensors[what] = TensorCache(what, form, files)
    cache, found = TeacherCache(tensors, writer, Claims(folder / "logits")), []
    for batch in range(BATCHES):

        def compute(batch: int = batch) -> Output:
            with open(folder / "computed", "a") as notes:
                notes.write(f"{name} {batch}\n")
            time.sleep(0.01)
            values = (torch.arange(SIZE)[:, None] + 100.0 * batch).expand(-1, CLASSES).contiguous()
            return Output(values, {what: values + 0.5 for what in features})

        found.append(cache.output(np.arange(SIZE) + batch * SIZE, CPU, compute))
    writer.close()
    return found


def is_whole(found: list[Output], features: tuple[str, ...] = ()) -> bool:
    expected = [torch.arange(SIZE) + 100.0 * batch for batch in range(BATCHES)]
    right = [torch.equal(output.logits[:, 0], values) for output, values in zip(found, expected, strict=True)]
    right += [torch.equal(o.features[f][:, 0], v + 0.5) for o, v in zip(found, expected, strict=True) for f in features]
    return all(right)


def computed(folder: Path) -> list[str]:
    return (folder / "computed").read_text().splitlines()


def test_concurrent_runs_compute_every_batch_once(tmp_path):
    def run(name: str) -> None:
        assert is_whole(outputs(tmp_path, name))

    children = [in_a_process(lambda name=name: run(name)) for name in ("a", "b")]
    run("c")
    assert all(ended_well(child) for child in children)
    assert sorted(line.split()[1] for line in computed(tmp_path)) == sorted(map(str, range(BATCHES)))


def test_a_method_with_features_computes_only_missing_features(tmp_path):
    child = in_a_process(lambda: os._exit(not is_whole(outputs(tmp_path, "logits"))))
    assert is_whole(outputs(tmp_path, "both", ("pooled",)), ("pooled",))
    assert ended_well(child)
    lines = computed(tmp_path)
    assert len(set(lines)) == len(lines) and sum(line.startswith("both") for line in lines) == BATCHES


def test_a_killed_process_loses_its_claim(tmp_path):
    def hold() -> None:
        assert Claims(tmp_path).take(np.arange(8))
        (tmp_path / "held").touch()
        signal.pause()

    child = in_a_process(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert Claims(tmp_path).take(np.arange(8))


def test_waiting_for_a_claim_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "PATIENCE", 0.05)

    def hold() -> None:
        held = Claims(tmp_path)
        assert held.take(np.arange(8))
        (tmp_path / "held").touch()
        while not (tmp_path / "enough").exists():
            time.sleep(0.001)
        held.give_up(np.arange(8))
        (tmp_path / "given up").touch()
        signal.pause()

    child = in_a_process(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.001)
    own = Claims(tmp_path)
    assert not own.take(np.arange(4, 12)) and own.take(np.arange(8, 12))
    (tmp_path / "enough").touch()
    while not (tmp_path / "given up").exists():
        time.sleep(0.001)
    assert own.take(np.arange(4, 12))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_scattered_rows_and_file_systems_without_locks_have_no_claims(tmp_path, monkeypatch):
    own = Claims(tmp_path)
    assert not own.take(np.array([3, 4, 9]))

    def refuse(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(claims.fcntl, "lockf", refuse)
    assert not own.take(np.arange(3))


def test_a_folder_with_claims_is_recognised_as_a_cache(tmp_path):
    folder = tmp_path / "teachers" / "0123"
    folders.use(folder, {"teacher": "tiny"})
    assert Claims(folder).take(np.arange(4))
    assert folders.all_in(tmp_path / "teachers") == [folder]

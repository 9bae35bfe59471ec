import json
import pickle

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.runs.checkpoints import checkpoint, stamps
from raykd.storage.folder import Folder


@pytest.fixture
def run(tmp_path):
    return Folder(tmp_path / "run")


def save(run, step, top1=None, value=1.0):
    state = {"step": step, "weights": {"w": torch.full((3,), value)}, "groups": [{"lr": 0.1, "betas": [0.9, 0.99]}]}
    checkpoint.write(run, state, step=step, epoch=step / 10, top1=top1, fingerprint="f")
    return state


def test_a_checkpoint_is_read_as_written(run):
    state = save(run, 7, top1=0.5)
    found, stamp = checkpoint.newest(run, pytest.fail)
    assert stamp.step == 7 and stamp.top1 == 0.5
    assert (
        found["step"] == 7
        and torch.equal(found["weights"]["w"], state["weights"]["w"])
        and found["groups"] == state["groups"]
    )


def test_a_run_without_checkpoints_has_none(run):
    assert checkpoint.newest(run, pytest.fail) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(p.read_bytes()[:-9]),
        lambda p: p.write_bytes(p.read_bytes()[:500] + b"\x00\x01\x02" + p.read_bytes()[503:]),
        lambda p: p.write_bytes(b""),
        lambda p: p.unlink(),
    ],
    ids=["truncated", "changed", "empty", "missing"],
)
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(run, damage):
    save(run, 1, value=1.0)
    save(run, 2, value=2.0)
    damage(run.local / "checkpoints/step-000000002/state.pt")
    heard = []
    found, stamp = checkpoint.newest(run, heard.append)
    assert stamp.step == 1 and found["weights"]["w"][0] == 1.0
    assert len(heard) == 1 and "step-000000002" in heard[0]


@pytest.mark.parametrize("stamp", ["", "{", "[]", '{"step": 2}', None])
def test_a_checkpoint_without_a_stamp_is_ignored(run, stamp):
    save(run, 1)
    save(run, 2)
    path = run.local / "checkpoints/step-000000002/stamp.json"
    path.unlink() if stamp is None else path.write_text(stamp)
    assert checkpoint.newest(run, pytest.fail)[1].step == 1


def test_a_pickle_with_code_is_not_executed(run, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "boom"), "w"))

    save(run, 1)
    folder = run.local / "checkpoints/step-000000001"
    content = pickle.dumps(Bomb())
    (folder / "state.pt").write_bytes(content)
    import hashlib

    stamp = json.loads((folder / "stamp.json").read_text())
    stamp |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (folder / "stamp.json").write_text(json.dumps(stamp))
    heard = []
    assert checkpoint.newest(run, heard.append) is None and "step-000000001" in heard[0]
    assert not (tmp_path / "boom").exists()


def test_the_newest_and_the_best_are_kept(run):
    for step, top1 in enumerate([0.1, 0.9, 0.3, None, 0.2, None], 1):
        save(run, step, top1)
        checkpoint.prune(run, 2)
    assert [s.step for s in stamps.stamps(run)] == [2, 5, 6]


def test_checkpoints_work_on_any_file_system(tmp_path):
    for place in (str(tmp_path / "a"), f"file://{tmp_path}/b", "memory://c"):
        folder = Folder(place)
        folder.create()
        assert folder.names() == []
        folder.write("x/y.json", '{"a": 1}')
        folder.append("log", "one")
        folder.append("log", "two")
        assert folder.read_json("x/y.json") == {"a": 1} and folder.read("log") == b"one\ntwo\n"
        assert folder.names() == ["log", "x"] and folder.names("x") == ["y.json"] and folder.names("none") == []
        assert folder.exists("x/y.json") and not folder.exists("x/z")
        folder.delete("x")
        assert folder.names() == ["log"]
        save(folder, 3)
        assert checkpoint.newest(folder, pytest.fail)[1].step == 3
        with pytest.raises(FileNotFoundError):
            folder.read("nothing")
        folder.write("bad.json", "{")
        with pytest.raises(UserError, match="bad.json"):
            folder.read_json("bad.json")


def test_unwritable_storage_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--storage"):
        Folder(tmp_path / "file" / "below").create()
    with pytest.raises(UserError, match="nonsense"):
        Folder("nonsense://x")


@pytest.mark.parametrize("value", [object(), np.float64(1.0), {torch.float32}])
def test_unreadable_state_is_not_written(run, value):
    state = {"optimizer": {"state": {0: [torch.ones(1), {"object": value}]}}}
    with pytest.raises(TypeError, match=r"the state\['optimizer'\]\['state'\]\[0\]\[1\]\['object'\] is a"):
        checkpoint.write(run, state, step=1, epoch=0.0, top1=None, fingerprint="")
    assert not stamps.stamps(run)

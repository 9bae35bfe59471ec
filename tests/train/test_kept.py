"""Teachers' logits in files: the numbers of live teachers, read instead of computed."""

from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.data.config import Data
from raykd.data.mixing import Mixup
from raykd.data.order import PASS_SHIFT
from raykd.methods.kd import KD
from raykd.recipe import Teachers
from raykd.recipe.serial import fingerprint
from raykd.train import kept, loop
from raykd.train.assemble import FrozenTeacher
from tests.train import tiny


def teacher(seed: int = 5) -> FrozenTeacher:
    torch.manual_seed(seed)
    return FrozenTeacher("tiny", tiny.network().eval().requires_grad_(False), "", 0)


def recipe(kind: str = "float32", **changes):
    return tiny.recipe(**{"epochs": 1.5, "method": KD.Config(), "teachers": Teachers(cache=kind), **changes})


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Kept logits go below a folder of the test's own; the data set stays where it is."""
    real = kept.Path
    monkeypatch.setattr(kept, "Path", lambda place: real(tmp_path) if "raykd" in str(place) else real(place))
    return tmp_path / "teachers"


def train(chosen, taught=None, distiller_seed: int = 0):
    """Weights after a run, and how often the teacher was run."""
    taught = taught or teacher()
    calls = []
    output = taught.network.output
    taught.network.output = lambda images, features: calls.append(len(images)) or output(images, features)
    data, _ = tiny.data(chosen)
    distiller = tiny.distiller(chosen.method, [taught.network], seed=distiller_seed)
    teachers = kept.keep([taught], chosen, distiller.teacher_features, data, lambda line: None)
    state = loop.new_state(chosen, distiller, tiny.CPU)
    list(loop.fit(chosen, state, teachers, data, lambda d: {}, tiny.CPU, lambda s: False))
    data.close()
    return state.distiller.state_dict(), len(calls)


def same(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_writing_and_reading_give_the_live_teachers_results_bit_for_bit(root):
    live, steps = train(recipe("none"))
    assert steps > 1347 // 64 and not root.exists()
    filled, computed = train(recipe())
    read, runs = train(recipe())
    assert (computed, runs) == (steps, 0)
    assert same(live, filled) and same(live, read)


@pytest.mark.parametrize("changes", [{"batch_size": 62}, {"accumulate": 3}, {"method": KD.Config(temperature=2.0)}])
def test_other_runs_on_the_same_data_run_no_teacher(root, changes):
    train(recipe())
    assert train(recipe(**changes), distiller_seed=1)[1] == 0


def test_half_the_room_gives_every_reader_the_same_numbers(root):
    filled, _ = train(recipe("float16"))
    read, runs = train(recipe("float16"))
    assert runs == 0 and same(filled, read)
    for name, value in train(recipe("none"))[0].items():
        torch.testing.assert_close(read[name], value, rtol=1e-2, atol=1e-3)


def test_a_damaged_row_is_computed_again(root):
    whole, _ = train(recipe())
    (path,) = root.glob("tiny-*/pass-000000.logits")
    with open(path, "r+b") as file:
        file.seek(1000)
        file.write(b"\xff\x00\xff")
    healed, runs = train(recipe())
    assert runs == 1 and same(whole, healed) and train(recipe())[1] == 0
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again, runs = train(recipe())
    assert 0 < runs <= 1347 // 64 + 1 and same(whole, again)


def test_rows_are_found_by_pass_and_index(tmp_path):
    store = kept.Kept(tmp_path / "a", 10, 3, "float32")
    tags = np.array([7 | 1 << PASS_SHIFT, 2, 7])
    values = np.arange(9, dtype="float32").reshape(3, 3)
    store.write(tags, values)
    again = kept.Kept(tmp_path / "a", 10, 3, "float32")
    np.testing.assert_array_equal(again.read(tags[::-1]), values[::-1])
    assert again.read(np.array([2 | 1 << PASS_SHIFT])) is None
    zeros = np.zeros((1, 3), "float32")
    again.write(tags[:1], zeros)
    np.testing.assert_array_equal(again.read(tags[:1]), zeros)


@pytest.mark.parametrize(
    ("other", "stays"),
    [
        ({"seed": 1}, False),
        ({"batch_size": 8}, True),
        ({"workers": 2}, True),
        ({"data": "another mean"}, False),
        ({"data": "another crop"}, False),
        ({"teachers": Teachers(cache="float16")}, False),
    ],
)
def test_what_a_teacher_says_depends_on_its_pixels_alone(other, stays):
    plain = recipe()
    if other.get("data") == "another mean":
        other = {"data": replace(plain.data, mean=(0.3, 0.3, 0.3))}
    elif other.get("data") == "another crop":
        other = {"data": replace(plain.data, train=())}
    stand_in = namedtuple("Loader", "labels")(torch.arange(4))
    names = [kept.identity(teacher(), r, stand_in) for r in (plain, replace(plain, **other))]
    assert (names[0] == names[1]) is stays
    assert kept.identity(teacher(6), plain, stand_in) != names[0]


def loader(data: Data, mixes: bool = False):
    return namedtuple("Loader", "labels classes mixes")(torch.arange(10**6), 1000, mixes)


def test_what_files_can_not_hold_is_refused(root, monkeypatch):
    mixed = recipe(data=replace(recipe().data, mixing=Mixup()))
    with pytest.raises(UserError, match="mixing makes new images"):
        kept.keep([teacher()], mixed, ((),), loader(mixed.data, True), print)
    with pytest.raises(UserError, match="feature maps"):
        kept.keep([teacher()], recipe(), (("stage2",),), loader(mixed.data), print)
    with pytest.raises(UserError, match="GB more in"):
        kept.keep([teacher()], recipe(epochs=300_000), ((),), loader(mixed.data), print)


def test_the_room_is_said_before_anything_is_written(root):
    said = []
    data = namedtuple("Loader", "labels classes mixes")(torch.arange(1000), 100, False)
    kept.keep([teacher()], recipe(epochs=3), ((),), data, said.append)
    assert "1 teacher(s) × 3 passes × 1,000 images × 100 classes" in said[0] and "0.00 GB to write" in said[0]


def test_only_rounded_logits_make_another_experiment():
    none, exact, rounded = (fingerprint(recipe(kind)) for kind in ("none", "float32", "float16"))
    assert none == exact != rounded

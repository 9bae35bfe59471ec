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
from raykd.recipe.fingerprint import fingerprint
from raykd.teachers import logit_cache
from raykd.teachers.cache_format import Full, TopK
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.train import loop
from raykd.train.state import new_state
from tests.train import tiny


def teacher(seed: int = 5) -> FrozenTeacher:
    torch.manual_seed(seed)
    return FrozenTeacher("tiny", tiny.network().eval().requires_grad_(False), "", 0)


def recipe(kind: str = "float32", **changes):
    return tiny.recipe(**{"epochs": 1.5, "method": KD.Config(), "teachers": Teachers(cache=kind), **changes})


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Kept logits go below a folder of the test's own; the data set stays where it is."""
    real = logit_cache.Path
    monkeypatch.setattr(logit_cache, "Path", lambda place: real(tmp_path) if "raykd" in str(place) else real(place))
    return tmp_path / "teachers"


def train(chosen, taught=None, distiller_seed: int = 0):
    """Weights after a run, and how often the teacher was run."""
    taught = taught or teacher()
    calls = []
    output = taught.network.output
    taught.network.output = lambda images, features: calls.append(len(images)) or output(images, features)
    data, _ = tiny.data(chosen)
    distiller = tiny.distiller(chosen.method, [taught.network], seed=distiller_seed)
    teachers = logit_cache.keep([taught], chosen, distiller.teacher_features, data, lambda line: None)
    state = new_state(chosen, distiller, tiny.CPU)
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
    store = logit_cache.Kept(tmp_path / "a", 10, Full(3, "float32"))
    tags = np.array([7 | 1 << PASS_SHIFT, 2, 7])
    values = np.arange(9, dtype="float32").reshape(3, 3)
    store.write(tags, values)
    again = logit_cache.Kept(tmp_path / "a", 10, Full(3, "float32"))
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
    names = [logit_cache.identity(teacher(), r, stand_in) for r in (plain, replace(plain, **other))]
    assert (names[0] == names[1]) is stays
    assert logit_cache.identity(teacher(6), plain, stand_in) != names[0]


def loader(data: Data, mixes: bool = False):
    return namedtuple("Loader", "labels classes mixes")(torch.arange(10**6), 1000, mixes)


def test_what_files_can_not_hold_is_refused(root, monkeypatch):
    mixed = recipe(data=replace(recipe().data, mixing=Mixup()))
    with pytest.raises(UserError, match="mixing makes new images"):
        logit_cache.keep([teacher()], mixed, ((),), loader(mixed.data, True), print)
    with pytest.raises(UserError, match="feature maps"):
        logit_cache.keep([teacher()], recipe(), (("stage2",),), loader(mixed.data), print)
    with pytest.raises(UserError, match="GB more in"):
        logit_cache.keep([teacher()], recipe(epochs=300_000), ((),), loader(mixed.data), print)


def test_the_room_is_said_before_anything_is_written(root):
    said = []
    data = namedtuple("Loader", "labels classes mixes")(torch.arange(1000), 100, False)
    logit_cache.keep([teacher()], recipe(epochs=3), ((),), data, said.append)
    assert "1 teacher(s) × 3 passes × 1,000 images × 100 classes" in said[0] and "0.00 GB to write" in said[0]


def test_only_rounded_logits_make_another_experiment():
    none, exact, rounded = (fingerprint(recipe(kind)) for kind in ("none", "float32", "float16"))
    assert none == exact != rounded


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits.astype(np.float64)).sum(1, keepdims=True))


@pytest.mark.parametrize("k", [1, 3, 9, 10])
def test_the_largest_logits_and_the_remainder(k):
    logits = np.random.default_rng(k).normal(0, 4, (50, 10)).astype("float32")
    row = TopK(10, k)
    packed = row.pack(logits)
    assert packed.shape == (50, 4 * k + 4) and packed.dtype == np.uint8
    found = row.unpack(packed)
    exact, kept_ones = log_softmax(logits), np.argsort(-logits, axis=1)[:, :k]
    ours = log_softmax(found)
    there = np.zeros_like(logits, bool)
    np.put_along_axis(there, kept_ones, True, 1)
    np.testing.assert_allclose(ours[there], exact[there], atol=0.02)  # float16's rounding of logits up to 16
    np.testing.assert_array_equal(found[there], logits.astype("float16")[there])
    if k < 10:
        others, wanted = (np.where(there, 0, np.exp(each)).sum(1) for each in (ours, exact))
        np.testing.assert_allclose(others, wanted, rtol=0.02)
        for line, mask in zip(found, there, strict=True):
            assert len(set(line[~mask])) == 1


def test_all_logits_kept_as_the_largest_are_all_logits_in_float16(root):
    filled, _ = train(recipe("float16"))
    for _ in range(2):
        largest, _ = train(recipe("top-k", teachers=Teachers(cache="top-k", top_k=10)))
        assert same(filled, largest)


def test_a_cache_of_the_largest_is_read_and_is_small(root):
    chosen = recipe(teachers=Teachers(cache="top-k", top_k=2))
    filled, computed = train(chosen)
    read, runs = train(chosen)
    assert computed > 0 == runs and same(filled, read)
    (file,) = root.glob("tiny-*/pass-000000.logits")
    data, _ = tiny.data(chosen)
    assert file.stat().st_size == len(data.labels) * 2 * (2 + 2) + len(data.labels) * 4
    data.close()


def test_more_logits_than_classes_are_refused():
    with pytest.raises(UserError, match="top_k: 11 must be from 1 to the data's 10"):
        TopK(10, 11)
    with pytest.raises(UserError, match="65,536"):
        TopK(100_000, 5)

"""The cache of teacher outputs gives the same student as live teachers, whoever fills and reads it."""

import importlib
import shutil
import sys
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.data.mixing import CutMix, Mixup
from raykd.methods.at import AT
from raykd.methods.funmatch import FunMatch
from raykd.methods.kd import KD
from raykd.methods.srrl import SRRL
from raykd.recipe import Precision, Teachers
from raykd.recipe.fingerprint import fingerprint
from raykd.teachers.cache import attach, folders
from raykd.teachers.cache.attach import attach_cache
from raykd.teachers.cache.key import digest_of, key_of
from raykd.teachers.cache.write_behind import WriteBehind
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.teachers.outputs import teacher_outputs
from raykd.training import loop
from raykd.training.update.state import new_state
from tests.support import tiny_training as tiny

LAST = Precision(channels_last=True)
METHODS = {
    "logits": {"method": KD.Config()},
    "logits and pooled": {"method": SRRL.Config()},
    "maps": {"method": AT.Config()},
    "maps, channels last": {"method": AT.Config(), "precision": LAST},
    "mixup": {"method": FunMatch.Config(), "mixing": Mixup()},
    "cutmix": {"method": FunMatch.Config(), "mixing": CutMix(), "batch_size": 50},
    "accumulated": {"method": FunMatch.Config(), "mixing": Mixup(), "accumulate": 3},
    "views": {"method": KD.Config(), "views": 1, "epochs": 2.2},
    "mixed views": {"method": FunMatch.Config(), "mixing": Mixup(), "views": 1, "epochs": 2.2},
}


def teacher(seed: int = 5) -> FrozenTeacher:
    torch.manual_seed(seed)
    return FrozenTeacher("tiny", tiny.network().eval().requires_grad_(False), "", 0)


def recipe(kind: str = "float32", *, mixing=None, views: int = 0, **changes):
    chosen = tiny.recipe(**{"epochs": 1.2, "method": KD.Config(), "teachers": Teachers(cache=kind), **changes})
    data = replace(chosen.data, views=views, **({"mixing": mixing} if mixing else {}))
    return replace(chosen, data=data)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Caches are in a temporary folder; the data set is not moved."""
    monkeypatch.setattr(folders, "root_of", lambda root: tmp_path / "teachers")
    return tmp_path / "teachers"


def train(chosen, taught=None, distiller_seed: int = 0):
    """The weights after a run, and the number of teacher passes."""
    taught = taught or teacher()
    calls = []
    output = taught.network.output
    taught.network.output = lambda images, features: calls.append(len(images)) or output(images, features)
    data, _ = tiny.data(chosen)
    data.normalizer.format = torch.channels_last if chosen.precision.channels_last else torch.contiguous_format
    distiller = tiny.distiller(chosen.method, [taught.network], seed=distiller_seed)
    writer = WriteBehind(pytest.fail)
    teachers = attach_cache([taught], chosen, distiller.teacher_features, data, writer, lambda line: None)
    state = new_state(chosen, distiller, tiny.CPU)
    list(loop.fit(chosen, state, teachers, data, lambda d: {}, tiny.ALONE, lambda s: False))
    writer.close()
    return state.distiller.state_dict(), len(calls)


def same(one, other) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("changes", METHODS.values(), ids=METHODS)
def test_cached_training_is_bit_identical_to_live_teachers(root, changes):
    live, steps = train(recipe("none", **changes))
    assert steps and not root.exists()
    filled, computed = train(recipe(**changes))
    read, runs = train(recipe(**changes))
    assert (computed < steps if changes.get("views") else computed == steps) and runs == 0
    assert same(live, filled) and same(live, read)


@pytest.mark.parametrize("changes", [{"batch_size": 60}, {"accumulate": 3}, {"method": KD.Config(temperature=2.0)}])
def test_later_runs_on_the_same_data_run_no_teacher(changes):
    train(recipe())
    assert train(recipe(**changes), distiller_seed=1)[1] == 0


def test_a_method_reads_logits_cached_by_another(root):
    train(recipe())
    before = set(root.iterdir())
    train(recipe(method=AT.Config()))
    assert before < set(root.iterdir()) and all("logits" in path.name for path in before)
    assert train(recipe())[1] == 0


@pytest.mark.parametrize("changes", [{}, {"mixing": Mixup()}, {"method": AT.Config()}], ids=str)
def test_a_float16_cache_gives_every_reader_the_same_values(changes):
    filled, _ = train(recipe("float16", **changes))
    read, runs = train(recipe("float16", **changes))
    assert runs == 0 and same(filled, read)
    for name, value in train(recipe("none", **changes))[0].items():
        torch.testing.assert_close(read[name], value, rtol=1e-2, atol=1e-3)


def test_compressed_maps_are_lossless_and_counted_once(root, monkeypatch):
    monkeypatch.setattr(attach, "suits", lambda size: size > 1000)
    big = replace(recipe("none", method=AT.Config(), epochs=0.2), teachers=Teachers(cache="float32"))
    small = replace(big, teachers=Teachers(cache="float32", cache_compression=True))
    assert fingerprint(big) == fingerprint(small)
    assert same(train(big)[0], train(small)[0]) and train(small)[1] == 0
    assert len(list(root.glob("tiny-stage?-*"))) == 4 and len(list(root.glob("tiny-logits-*"))) == 1
    (data, _), said = tiny.data(small), []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(0))
    attach_cache([teacher()], small, (("stage1", "stage2"),), data, WriteBehind(pytest.fail), said.append)
    assert "at most 0.00 GB to write" in said[0]


def test_top_k_of_all_classes_equals_float16():
    filled, _ = train(recipe("float16"))
    for _ in range(2):
        assert same(filled, train(recipe(teachers=Teachers(cache="top-k", top_k=10)))[0])


def test_a_top_k_cache_is_small(root):
    chosen = recipe(teachers=Teachers(cache="top-k", top_k=2))
    filled, computed = train(chosen)
    read, runs = train(chosen)
    assert computed > 0 == runs and same(filled, read)
    assert (next(root.glob("tiny-logits-*/000000.rows"))).stat().st_size == 1347 * (8 + 2 * (2 + 2) + 4)


def test_damaged_rows_are_computed_again(root):
    whole, steps = train(recipe())
    (path,) = root.glob("tiny-*/000000.rows")
    content = path.read_bytes()
    path.write_bytes(content[:1000] + b"\xff\x00\xff" + content[1003:])
    taught, said = teacher(), []
    with pytest.raises(pytest.fail.Exception, match="damaged rows"):
        _read_all(recipe(), taught, pytest.fail)
    _read_all(recipe(), taught, said.append)
    assert len(said) == 1 and str(path) in said[0]
    assert path.read_bytes() == content
    path.write_bytes(content[: len(content) // 2])
    again, runs = train(recipe())
    assert 0 < runs < steps and same(whole, again) and train(recipe())[1] == 0


def _read_all(chosen, taught, say, rank: int = 0, world: int = 1, writer=None):
    """The teacher's logits and features of every step, as a worker gets them."""
    data, _ = tiny.data(chosen, rank, world)
    features = tiny.distiller(chosen.method, [taught.network]).teacher_features
    own = writer or WriteBehind(say)
    (cached,) = attach_cache([taught], chosen, features, data, own, lambda line: None)
    steps = int(chosen.epochs * data.size // chosen.batch_size)
    context = torch.no_grad
    found = [
        teacher_outputs([cached], features, batch.images, context, at)[0]
        for batch, at in zip(data.batches(0, steps), data.addresses(0, steps), strict=True)
    ]
    own.close()
    return found


@pytest.mark.parametrize("changes", [METHODS["maps"], METHODS["mixup"], METHODS["mixed views"]], ids=str)
@pytest.mark.parametrize(("fill", "read"), [(1, 2), (2, 1), (2, 3)])
def test_any_number_of_workers_reads_a_cache(changes, fill, read):
    chosen = recipe("float32", **changes)
    filled = [_read_all(chosen, teacher(), pytest.fail, rank, fill) for rank in range(fill)]
    absent = teacher()
    absent.network.output = lambda images, features: pytest.fail("the teacher is run")
    found = [_read_all(chosen, absent, pytest.fail, rank, read) for rank in range(read)]
    live = _read_all(replace(chosen, teachers=Teachers()), teacher(), pytest.fail)
    for step, expected in enumerate(live):
        for name, tensor in [("logits", expected.logits), *expected.features.items()]:
            of_step = lambda worker, name=name, step=step: (  # noqa: E731
                worker[step].logits if name == "logits" else worker[step].features[name]
            )
            together = torch.cat([of_step(worker) for worker in found])
            assert torch.equal(together, torch.cat([of_step(worker) for worker in filled]))
            torch.testing.assert_close(together, tensor, rtol=1e-5, atol=1e-6)


KEYS = [
    ({"seed": 1}, False),
    ({"batch_size": 8}, True),
    ({"batch_size": 8, "mixing": Mixup()}, False),
    ({"mixing": Mixup(alpha=0.5)}, False),
    ({"workers": 2}, True),
    ({"views": 7}, True),
    ({"epochs": 3}, True),
    ({"precision": Precision(channels_last=False, autocast="bfloat16")}, False),
    ({"mean": (0.3, 0.3, 0.3)}, False),
    ({"train": ()}, False),
    ({"order": "quasi-random"}, False),
    ({"validation": 0.1}, False),
]


@pytest.mark.parametrize(("other", "stays"), KEYS, ids=str)
def test_the_key_contains_everything_that_affects_outputs(other, stays):
    mixing = other.get("mixing")
    plain = recipe(mixing=Mixup() if mixing else None)
    of_data = {name: value for name, value in other.items() if name in ("mean", "train", "order", "validation")}
    changed = recipe(**{name: value for name, value in other.items() if name not in of_data} | {"mixing": mixing})
    changed = replace(changed, data=replace(changed.data, **of_data))
    keys = [key_of(teacher(), digest_of(teacher().network), r, stand_in(bool(mixing)), {}) for r in (plain, changed)]
    assert (keys[0] == keys[1]) is stays


def test_other_weights_data_or_tensors_have_another_key():
    chosen, taught = recipe(), teacher()
    weights = digest_of(taught.network)
    key = key_of(taught, weights, chosen, stand_in(), {"what": "logits"})
    assert weights == digest_of(teacher().network) != digest_of(teacher(6).network)
    assert key != key_of(taught, weights, chosen, stand_in(), {"what": "pooled"})
    assert key != key_of(taught, weights, chosen, stand_in()._replace(identity="other"), {"what": "logits"})
    for built in (
        {"options": {"act_layer": "relu6"}},
        {"stage_modules": ("0", "2")},
    ):  # the same weights, other outputs
        again = teacher()
        vars(again.network).update(built)
        assert digest_of(again.network) == weights and key != key_of(
            again, weights, chosen, stand_in(), {"what": "logits"}
        )
    assert key != key_of(
        replace(taught, precision=taught.precision._replace(precision="bfloat16")), weights, chosen, stand_in(), {}
    )


OPERATION = """
from dataclasses import dataclass
from raykd.data.transforms import Operation

@dataclass(frozen=True, kw_only=True)
class Darker(Operation):
    def apply(self, images, drawn):
        images[:] = images // 2
"""


def test_an_edited_augmentation_of_the_user_has_another_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def key(text):
        monkeypatch.delitem(sys.modules, "darker_images", raising=False)
        (tmp_path / "darker_images.py").write_text(text)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        chosen = recipe()
        data = replace(chosen.data, train=(importlib.import_module("darker_images").Darker(),))
        return key_of(teacher(), "weights", replace(chosen, data=data), stand_in(), {})

    assert key(OPERATION) == key(OPERATION + "# a comment\n") != key(OPERATION.replace("// 2", "// 3"))


def stand_in(mixes: bool = False, images: int = 4):
    fields = {"labels": torch.arange(images), "size": images, "identity": "few", "mixes": mixes}
    return namedtuple("Loader", [*fields, "distinct_images"])(*fields.values(), lambda steps: steps * 64)


def test_the_size_is_reported_and_checked_before_writing(root):
    said, writer = [], WriteBehind(pytest.fail)
    features = (("pooled", "stage2"),)
    attach_cache([teacher()], recipe(epochs=64), features, stand_in(), writer, said.append)
    shapes = teacher().network.shapes
    each = {"logits": 40, "pooled": 32, "stage2": 4 * int(np.prod(shapes["stage2"]))}
    assert all(f"tiny {what} {count} bytes" in said[0].replace(",", "") for what, count in each.items())
    assert "256 images" in said[0] and "0.00 GB to write" in said[0]
    assert not list(root.glob("*/*.rows"))
    with pytest.raises(UserError, match="GB more, .* are free; raykd data clean"):
        attach_cache([teacher()], recipe(epochs=1e6), features, stand_in(images=10**6), writer, print)
    capped = recipe(teachers=Teachers(cache="float32", cache_gb=1.0), epochs=10)
    with pytest.raises(UserError, match="allows 1 GB; raykd data clean"):
        attach_cache([teacher()], capped, features, stand_in(images=10**5), writer, print)


def test_a_full_disk_ends_caching_but_not_training(monkeypatch):
    from raykd.teachers.cache.row_files import RowFiles

    live, steps = train(recipe("none"))

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RowFiles, "write", refuse)
    said = []
    monkeypatch.setattr(pytest, "fail", said.append)
    assert same(live, train(recipe())[0]) and train(recipe())[1] == steps
    assert len(said) == 2 and all("No space left on device" in line for line in said)


def test_only_rounded_outputs_change_the_fingerprint():
    none, exact, rounded = (fingerprint(recipe(kind)) for kind in ("none", "float32", "float16"))
    assert none == exact != rounded
    assert fingerprint(recipe(views=3)) != exact

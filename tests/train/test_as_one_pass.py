"""Several networks as one pass, in training, resuming and of teachers; what that excludes; what bench says of it."""

import pytest
import torch

from raykd import UserError
from raykd.commands.bench import advice
from raykd.launch.checks import check
from raykd.methods.aver_mkd import AverMKD
from raykd.methods.kd import KD
from raykd.methods.one import ONE
from raykd.models import create
from raykd.models.frozen import freeze
from raykd.models.renormalize import renormalize
from raykd.recipe import SGD, Precision, Teachers, Train
from raykd.recipe.serial import essence, fingerprint, from_dict, to_dict
from raykd.train import loop, shadow
from raykd.train.ask import ask
from raykd.train.assemble import FrozenTeacher, build_distiller, put_together
from raykd.train.forms import Form
from raykd.train.speed import measure
from raykd.train.state import new_state
from tests.train import tiny
from tests.train.test_loop import InFloat64, reread
from tests.train.test_speed import speed

STEPS = 6


def recipe(together: bool, **changes):
    method = ONE.Config(branches=3, together=together)
    optimizer = SGD(learning_rate=0.02, weight_decay=1e-3)
    changes = {"accumulate": 2, "ema": 0.9, "batch_size": 12, "optimizer": optimizer, **changes}
    return tiny.recipe(method=method, **changes)


def trained(chosen, stop: int = STEPS, snapshot=None) -> dict:
    """The state after some steps of the real loop, in float64."""
    train, _ = tiny.data(chosen)
    state = new_state(chosen, build_distiller(chosen, [], 10, 0).double(), tiny.CPU)
    if snapshot is not None:
        state.restore(reread(snapshot))
    for event in loop.fit(chosen, state, [], InFloat64(train), lambda d: {}, tiny.CPU, lambda step: step >= stop):
        if isinstance(event, loop.Save):
            break
    train.close()
    assert state.step == stop
    return state.snapshot()


def tensors(snapshot) -> dict:
    parts = {part: snapshot[part] for part in ("distiller", "ema")}
    return {f"{part}.{name}": value for part, found in parts.items() for name, value in found.items()}


@pytest.mark.parametrize("channels_last", [False, True])
def test_steps_together_are_steps_apart_and_a_run_goes_on_either_way(channels_last):
    apart, together = (recipe(way, precision=Precision(channels_last=channels_last)) for way in (False, True))
    expected, found = tensors(trained(apart)), tensors(trained(together))
    resumed = tensors(trained(together, snapshot=trained(together, STEPS // 2)))
    switched = tensors(trained(apart, snapshot=trained(together, STEPS // 2)))
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert torch.equal(found[name], resumed[name]), name
        for other in (found, switched):
            torch.testing.assert_close(other[name], value, rtol=1e-8, atol=1e-10, msg=name)


def teachers(form: Form = Form()) -> list[FrozenTeacher]:
    """Three of one architecture, one of which expects other pixels, around one of another."""
    torch.manual_seed(2)
    found = [freeze(create(name, 10, 32)) for name in ("resnet8", "vgg8", "resnet8", "resnet8")]
    found[2] = renormalize(found[2], (0.5,) * 3, (0.2,) * 3, (0.4,) * 3, (0.3,) * 3)
    return [FrozenTeacher(str(i), network, "", 0, form=form) for i, network in enumerate(found)]


@pytest.mark.parametrize(("form", "limit"), [(Form(), 1e-5), (Form("bfloat16"), 0.02)])
def test_teachers_together_say_what_they_say_apart(form: Form, limit: float):
    images, context = torch.randn(4, 3, 32, 32), lambda: torch.autocast("cpu", enabled=False)
    features = (("pooled",), ("stage2",), (), ("stage1", "pooled"))
    expected = ask(teachers(form), features, images, context)
    found = ask(put_together(teachers(form)), features, images, context)
    for one, other, names in zip(found, expected, features, strict=True):
        assert tuple(one.features) == names and not one.logits.requires_grad
        for a, b in ((one.logits, other.logits), *((one.features[n], other.features[n]) for n in names)):
            assert a.dtype == b.dtype and (a - b).norm() <= limit * b.norm()
        sent = shadow.unpack(shadow._pack(one))  # as from a remote teacher: its memory is a part of a larger map's
        assert torch.equal(sent.logits, one.logits)
        assert all(torch.equal(sent.features[n], one.features[n]) for n in names)


def test_teachers_of_which_no_two_are_alike_are_refused():
    with pytest.raises(UserError, match=r"teachers\.together: no two teachers"):
        put_together(teachers()[:2])


def test_what_it_can_not_be_combined_with_is_refused():
    sources = (Train(recipe=tiny.recipe(), seeds=(0, 1)),)
    for chosen, line in (
        (recipe(True, sync_batchnorm=True), "method.together: batch statistics"),
        (taught(sources=sources, cache="float16"), "teachers.together: kept logits"),
        (taught(sources=(Train(recipe=tiny.recipe()),)), r"teachers.together: the recipe has 1 teacher\(s\)"),
    ):
        with pytest.raises(UserError, match=f"^{line}"):
            check(chosen)
    check(recipe(True))
    check(taught(sources=sources))


def taught(**changes):
    return tiny.recipe(method=AverMKD.Config(), teachers=Teachers(together=True, **changes))


def test_recipes_without_it_are_what_they_were_and_with_it_others():
    assert "together" not in essence(recipe(False))["method"] and "together" not in essence(recipe(False))["teachers"]
    assert fingerprint(recipe(True)) != fingerprint(recipe(False))
    assert fingerprint(recipe(False, teachers=Teachers(together=True))) != fingerprint(recipe(False))
    assert from_dict(to_dict(recipe(True))) == recipe(True)


def test_bench_compares_both_ways_where_the_recipe_allows_them():
    peers = tiny.recipe(method=ONE.Config(branches=2))
    taught = tiny.recipe(method=KD.Config(), teachers=Teachers(sources=(Train(recipe=tiny.recipe()),)))
    found = measure(peers, 1, tiny.CPU, 1, seconds=0.05).together
    assert list(found) == ["method.together"] and 0 < found["method.together"][0] <= found["method.together"][1]
    assert measure(taught, 1, tiny.CPU, 1, seconds=0.05).together == {}  # a single teacher


@pytest.mark.parametrize(
    ("on", "share", "line"),
    [
        (False, (0.7, 0.8), "--method.together: several networks as one pass make a step 20 to 30 % shorter here"),
        (True, (1.1, 1.2), "--method.no-together: method.together makes a step 10 to 20 % longer here"),
        (False, (0.7, 0.97), None),
        (False, (1.1, 1.2), None),
        (True, (0.7, 0.8), None),
        (True, (0.97, 1.2), None),
    ],
)
def test_bench_advises_only_where_one_way_is_clearly_faster(on: bool, share: tuple[float, float], line: str | None):
    plain = advice(speed(), recipe(on))
    assert advice(speed(together={"method.together": share}), recipe(on)) == plain + ([line] if line else [])

"""Teachers in other precisions: nearly equal outputs, chosen by loss and time, and kept when a run resumes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from raykd import UserError
from raykd.contract import Batch
from raykd.launch.driver.validate import check
from raykd.launch.worker import precision_choice
from raykd.methods.kd import KD
from raykd.models import create
from raykd.models.frozen.freeze import cast_weights, freeze
from raykd.recipe import Precision, Teachers
from raykd.recipe.fingerprint import fingerprint
from raykd.storage.folder import Folder
from raykd.teachers.frozen_teacher import FrozenTeacher, TeacherPrecision
from raykd.training import choose_precision, loop
from raykd.training.choose_precision import Measured
from raykd.training.update.state import new_state
from tests.support import tiny_training as tiny

PLAIN, HALF = TeacherPrecision(), TeacherPrecision("bfloat16")


def teacher(form: TeacherPrecision = PLAIN) -> FrozenTeacher:
    torch.manual_seed(5)
    return FrozenTeacher("tiny", tiny.network().eval().requires_grad_(False), "", 0, precision=form)


def batch() -> Batch:
    torch.manual_seed(6)
    return Batch(torch.randn(12, 3, 32, 32), torch.randint(10, (12,)), torch.arange(12))


@pytest.mark.parametrize("name", ["resnet8x4", "wrn_16_1", "mobilenetv2_half"])  # the second one keeps BatchNorms
def test_lower_precision_outputs_are_close_to_float32(name: str):
    torch.manual_seed(0)
    network = freeze(create(name, 10, 32))
    images = torch.randn(4, 3, 32, 32)
    names = (network.stages[1], "pooled")
    with torch.no_grad():
        exact, features = network.output(images, names)
        for outer in (torch.float32, torch.bfloat16):  # whatever the student is computed in
            with torch.autocast("cpu", outer, enabled=outer is not torch.float32):
                logits, found = FrozenTeacher(name, network, "", 0, precision=HALF).output(images, names)
            assert {logits.dtype, *(f.dtype for f in found.values())} == {torch.float32} and set(found) == set(names)
            for one, other in ((exact, logits), *((features[n], found[n]) for n in names)):
                assert 0 < (one - other).norm() / one.norm() < 0.03
        assert next(network.parameters()).dtype is torch.float32


def test_only_weights_that_autocast_casts_are_cast_in_advance():
    network = freeze(create("wrn_16_1", 10, 32))
    kinds = {
        type(m).__name__: p.dtype
        for m in cast_weights(network, torch.bfloat16).modules()
        for p in m._parameters.values()
        if p is not None
    }
    assert kinds == {"Conv2d": torch.bfloat16, "Linear": torch.bfloat16, "BatchNorm2d": torch.float32}


def test_the_fastest_precision_with_an_unchanged_loss_is_chosen():
    quick, wrong, compiled = (
        TeacherPrecision("float16"),
        TeacherPrecision("bfloat16", "compiled"),
        TeacherPrecision("recipe", "compiled"),
    )
    measured = {PLAIN: Measured(1.0, 0.0), HALF: Measured(0.5, 9e-4), wrong: Measured(0.1, 1.1e-3)}
    assert choose_precision.choose(measured) == HALF
    assert choose_precision.choose(measured | {compiled: Measured(0.4, 1e-7)}) == compiled
    assert choose_precision.choose({PLAIN: Measured(1.0, 0.0), quick: Measured(0.97, 0.0)}) == PLAIN
    assert choose_precision.choose({PLAIN: Measured(1.0, 0.0), quick: Measured(0.1, float("inf"))}) == PLAIN


def kd_loss(student, taught, labels, config) -> float:
    """The method's loss in float64 numpy."""

    def log_softmax(z):
        z = z.double().numpy()
        return z - np.log(np.exp(z).sum(1, keepdims=True))

    t = config.temperature
    p, q = log_softmax(taught / t), log_softmax(student / t)
    divergence = (np.exp(p) * (p - q)).sum(1).mean() * t**2
    entropy = -log_softmax(student)[np.arange(len(labels)), labels.numpy()].mean()
    return (1 - config.alpha) * entropy + config.alpha * divergence


def test_measuring_the_loss_change_follows_the_formula_and_changes_nothing():
    recipe, taught, data = tiny.recipe(method=KD.Config()), teacher(), batch()
    distiller = tiny.distiller(recipe.method, [taught.network], dropout=0.0)
    before = {name: value.clone() for name, value in distiller.state_dict().items()}
    random = torch.get_rng_state()
    measured = choose_precision.measure(recipe, distiller, [taught], [data], tiny.CPU)
    assert torch.equal(random, torch.get_rng_state()) and distiller.training
    assert all(torch.equal(before[name], value) for name, value in distiller.state_dict().items())
    assert list(measured) == [PLAIN, HALF] and measured[PLAIN].change == 0
    with torch.no_grad():
        student, exact = distiller.student(data.images), taught.network(data.images)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = taught.network(data.images).float()
    losses = [kd_loss(student, z, data.labels, recipe.method) for z in (exact, rounded)]
    assert measured[HALF].change == pytest.approx(abs(losses[1] / losses[0] - 1), rel=0.05) != 0
    assert all(each.seconds > 0 for each in measured.values())


def test_measuring_keeps_batch_statistics_and_repeats_dropout_masks():
    recipe = tiny.recipe(method=KD.Config())
    torch.manual_seed(1)
    distiller = KD.Config().build(lambda: create("resnet8", 10, 32), [teacher().network])
    before = {name: value.clone() for name, value in distiller.state_dict().items()}
    choose_precision.measure(recipe, distiller, [teacher()], [batch()], tiny.CPU)
    assert all(torch.equal(before[name], value) for name, value in distiller.state_dict().items())
    dropping = tiny.distiller(recipe.method, [teacher().network], dropout=0.5)
    assert (
        choose_precision.measure(recipe, dropping, [teacher()], [batch()], tiny.CPU)[HALF].change < 0.01
    )  # same masks


def test_candidates_depend_on_the_device_and_the_recipe():
    recipe = tiny.recipe()
    assert choose_precision.candidates(recipe, tiny.CPU) == [PLAIN, HALF]
    cast = replace(recipe, precision=Precision(autocast="bfloat16", compile=True))
    assert choose_precision.candidates(cast, tiny.CPU) == [PLAIN, TeacherPrecision(launch="compiled")]
    assert len(choose_precision.candidates(recipe, torch.device("cuda"))) == 6


def test_training_uses_the_chosen_precision():
    recipe, data = tiny.recipe(method=KD.Config(), epochs=0.3), tiny.data(tiny.recipe())[0]
    weights = []
    for form in (PLAIN, HALF, HALF):
        state = new_state(recipe, tiny.distiller(recipe.method, [teacher().network]), tiny.CPU)
        list(loop.fit(recipe, state, [teacher(form)], data, lambda d: {}, tiny.ALONE, lambda s: False))
        weights.append(torch.cat([p.detach().flatten() for p in state.distiller.parameters()]))
    assert torch.equal(weights[1], weights[2]) and not torch.equal(weights[0], weights[1])
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-2, atol=1e-3)


def test_a_resumed_run_keeps_the_chosen_precision(tmp_path, monkeypatch):
    recipe, taught = tiny.recipe(method=KD.Config(), teachers=Teachers(form="auto")), teacher()
    data = tiny.data(recipe)[0]
    distiller = tiny.distiller(recipe.method, [taught.network])
    measured, said = {PLAIN: Measured(1.0, 0.0), HALF: Measured(0.5, 1e-5)}, []
    monkeypatch.setattr(precision_choice, "measure", lambda *args: measured)
    args = (Folder(tmp_path), recipe, distiller, [taught], data, tiny.ALONE, said.append)
    assert precision_choice.choose_precision(*args) == HALF
    assert said == [choose_precision.describe(HALF, measured)] and "teachers run in bfloat16" in said[0]
    assert json.loads((tmp_path / precision_choice.FILE).read_text())["precision"] == "bfloat16"
    measured[HALF] = Measured(2.0, 1e-5)  # today it would be another one
    assert precision_choice.choose_precision(*args) == HALF and len(said) == 1


def test_incompatible_settings_are_rejected():
    ready = tiny.recipe(method=KD.Config())
    for teachers, line in (
        (Teachers(form="auto", cache="float16"), "teachers.form: auto"),
        (Teachers(form="auto", placement="remote"), "teachers.form: auto"),
        (Teachers(form="float16"), "float16 is for GPUs"),
        (Teachers(cache="top-k"), "teachers.top_k"),
        (Teachers(cache="float16", top_k=5), "teachers.top_k"),
    ):
        with pytest.raises(UserError, match=line):
            check(replace(ready, workers=1, teachers=teachers))
    check(replace(ready, teachers=Teachers(form="bfloat16", cache="top-k", top_k=3)))


def test_the_precision_is_part_of_the_fingerprint():
    prints = [fingerprint(tiny.recipe(teachers=Teachers(form=form))) for form in ("recipe", "bfloat16", "auto")]
    assert len(set(prints)) == 3

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from raykd.contract import Batch, Placement
from raykd.methods.kd import KD
from raykd.models.staged import parameters
from raykd.recipe import SGD, AdamW, Cosine, Debug, Precision, Steps
from raykd.recipe.length import total_steps
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.teachers.outputs import split_batch
from raykd.training import loop
from raykd.training.update import optim
from raykd.training.update.nonfinite import FiniteCheck, NotFiniteError
from raykd.training.update.state import new_state
from tests.support import tiny_training as tiny
from tests.support.gloo_workers import run_workers


def run(recipe, distiller=None, teachers=(), state=None, stop=None, save_due=lambda step: False):
    """Train to the end or to step `stop`; returns the state, all events, and snapshots at each `Save`."""
    train, test = tiny.data(recipe)
    state = state or new_state(recipe, distiller or tiny.distiller(), tiny.CPU)
    events, snapshots = [], {}
    for event in loop.fit(recipe, state, teachers, train, lambda d: {"evaluation": {}}, tiny.ALONE, save_due):
        events.append(event)
        if isinstance(event, loop.Save):
            snapshots[event.step] = state.snapshot()
        if stop is not None and event.step >= stop:
            break
    return state, events, snapshots


def weights(state):
    return {name: value.clone() for name, value in state.distiller.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def teacher(seed=5):
    torch.manual_seed(seed)
    network = tiny.network().eval().requires_grad_(False)
    return FrozenTeacher("tiny", network, "", parameters(network))


def reread(snapshot):
    """A snapshot written to and read from a file."""
    file = io.BytesIO()
    torch.save(snapshot, file)
    return torch.load(io.BytesIO(file.getvalue()), weights_only=True)


class InFloat64:
    """A loader whose images are float64."""

    def __init__(self, loader):
        self.loader, self.size = loader, loader.size

    def batches(self, start, stop):
        for batch in self.loader.batches(start, stop):
            yield batch._replace(images=batch.images.double())


@pytest.mark.parametrize("channels_last", [False, True])
def test_steps_equal_a_plain_float64_loop(channels_last):
    """Two epochs of SGD (nesterov, decay, cosine with warm-up) against an independent loop over the same batches.

    Resumed on the way: torch's fused SGD reads memory as it lies, so velocities must keep their parameters' layout.
    """
    recipe = tiny.recipe(
        epochs=2,
        optimizer=SGD(learning_rate=0.05, weight_decay=1e-3),
        schedule=Cosine(warmup_steps=5),
        precision=Precision(channels_last=channels_last),
    )
    train, _ = tiny.data(recipe)
    state = new_state(recipe, tiny.distiller(seed=3).double(), tiny.CPU)
    arguments = recipe, state, (), InFloat64(train), lambda d: {}, tiny.ALONE, lambda step: step == 9
    next(event for event in loop.fit(*arguments) if isinstance(event, loop.Save))
    state = new_state(recipe, tiny.distiller(seed=4).double(), tiny.CPU)
    state.restore(reread(arguments[1].snapshot()))
    for _ in loop.fit(recipe, state, *arguments[2:]):
        pass

    model = tiny.distiller(seed=3).student.model.double()
    velocity = {name: None for name, _ in model.named_parameters()}
    total = 2 * train.size // recipe.batch_size
    for step, batch in enumerate(train.batches(0, total)):
        F.cross_entropy(model(batch.images.double()), batch.labels).backward()
        rate = 0.05 * (step / 5 if step < 5 else 0.5 * (1 + math.cos(math.pi * (step - 5) / (total - 5))))
        with torch.no_grad():
            for name, p in model.named_parameters():
                gradient = p.grad + 1e-3 * p
                velocity[name] = gradient if velocity[name] is None else 0.9 * velocity[name] + gradient
                p -= rate * (gradient + 0.9 * velocity[name])
                p.grad = None
    for name, p in model.named_parameters():
        torch.testing.assert_close(state.distiller.student.model.get_parameter(name), p, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": SGD(learning_rate=0.05)},
        {"optimizer": AdamW(), "ema": 0.9},
        {"optimizer": SGD(clip_norm=0.1), "accumulate": 3, "precision": Precision(autocast="bfloat16")},
    ],
    ids=["sgd", "adamw-ema", "clip-accumulate-bfloat16"],
)
def test_a_run_resumed_within_an_epoch_is_bit_identical(changes):
    recipe = tiny.recipe(epochs=2, **changes)
    build = {"config": KD.Config(), "teachers": [teacher().network], "dropout": 0.3}
    whole, events, snapshots = run(recipe, tiny.distiller(**build), [teacher()], save_due=lambda s: s in (9, 30))
    for step, snapshot in snapshots.items():
        state = new_state(recipe, tiny.distiller(seed=99, **build), tiny.CPU)
        state.restore(snapshot)
        state, again, _ = run(recipe, teachers=[teacher()], state=state)
        assert equal(weights(state), weights(whole)), step
        if whole.ema is not None:
            assert equal(state.ema.state_dict(), whole.ema.state_dict())
        whole_lines = [e.line["terms"] for e in events if isinstance(e, loop.Epoch) and e.step > step]
        assert whole_lines == [e.line["terms"] for e in again if isinstance(e, loop.Epoch)]


def test_kd_with_alpha_0_equals_supervised_bit_for_bit():
    recipe = tiny.recipe()
    alone, _, _ = run(recipe, tiny.distiller())
    taught, _, _ = run(recipe, tiny.distiller(KD.Config(gamma=1.0, alpha=0.0), [teacher().network]), [teacher()])
    assert equal(weights(alone), weights(taught))


def test_events_are_yielded_at_their_steps():
    recipe = tiny.recipe(epochs=3, evaluate_every=2, log_every=10)
    state, events, _ = run(recipe, save_due=lambda step: step == 7)
    size, batch = 1347, recipe.batch_size
    last = 3 * size // batch
    assert state.step == last
    assert [e.step for e in events if isinstance(e, loop.Epoch)] == [math.ceil(2 * size / batch), last]
    assert [e.step for e in events if isinstance(e, loop.Save)] == [7]
    ends = [math.ceil(2 * size / batch), last]
    assert [e.step for e in events if isinstance(e, loop.Progress)] == sorted({*range(10, last + 1, 10), *ends})


def test_an_epoch_reports_the_mean_of_each_term():
    recipe = tiny.recipe(log_every=1)
    _, events, _ = run(recipe)
    steps = [e.values["terms/ce"] for e in events if isinstance(e, loop.Progress)]
    (line,) = [e.line for e in events if isinstance(e, loop.Epoch)]
    assert line["terms"]["ce"] == pytest.approx(np.mean(steps), rel=1e-6) == pytest.approx(line["loss"])
    assert line["step"] == len(steps) and line["images_per_second"] > 0


def test_images_per_second_excludes_evaluations(monkeypatch):
    """With a clock that advances by 100 in an evaluation, by 2 while waiting for a batch, and otherwise not at all."""
    clock = [0.0]
    monkeypatch.setattr("raykd.training.update.meters.time.perf_counter", lambda: clock[0])
    recipe = tiny.recipe(epochs=3, evaluate_every=1)
    train, _ = tiny.data(recipe)

    class Slow:
        size = train.size

        def batches(self, start, stop):
            for batch in train.batches(start, stop):
                clock[0] += 2
                yield batch

    def evaluate(distiller):
        clock[0] += 100
        return {}

    state = new_state(recipe, tiny.distiller(), tiny.CPU)
    clock[0] += 7  # of preparation
    events = loop.fit(recipe, state, (), Slow(), evaluate, tiny.ALONE, lambda step: False)
    lines = [event.line for event in events if isinstance(event, loop.Epoch)]
    steps = np.diff([0, *(line["step"] for line in lines)])
    assert [line["images_per_second"] for line in lines] == [recipe.batch_size / 2] * 3
    assert [line["seconds"] for line in lines] == [7 + 2 * steps[0], 100 + 2 * steps[1], 100 + 2 * steps[2]]


def test_ema_equals_the_moving_average_formula():
    recipe = tiny.recipe(ema=0.8, log_every=1)
    state = new_state(recipe, tiny.distiller(), tiny.CPU)
    # AveragedModel starts as a copy of the weights after the first step.
    average, seen = None, lambda: state.distiller.student.model.fc.weight.detach().double().clone()
    train, _ = tiny.data(recipe)
    for event in loop.fit(recipe, state, (), train, lambda d: {}, tiny.ALONE, lambda s: False):
        if isinstance(event, loop.Progress):
            average = seen() if average is None else 0.8 * average + 0.2 * seen()
    found = state.evaluated.student.model.fc.weight.double()
    torch.testing.assert_close(found, average, rtol=1e-5, atol=1e-7)
    assert state.evaluated is not state.distiller


def test_accumulation_makes_the_same_update():
    results = [run(tiny.recipe(accumulate=parts, epochs=1))[0] for parts in (1, 4)]
    for a, b in zip(*(weights(state).values() for state in results)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def poison(network, at):
    """Make the network's logits NaN at call number `at`."""
    calls = iter(range(1, 1000))
    network.fc.register_forward_hook(lambda m, i, logits: logits * (float("nan") if next(calls) == at else 1.0))


def test_a_non_finite_loss_stops_the_run_and_is_dumped(tmp_path):
    from safetensors.torch import load_file

    recipe = tiny.recipe(debug=Debug(nan_dump=str(tmp_path)))
    distiller = tiny.distiller()
    poison(distiller.student.model, 4)
    state = new_state(recipe, distiller, tiny.CPU)
    train, _ = tiny.data(recipe)
    expected = [batch for batch in train.batches(3, 4)][0]
    with pytest.raises(NotFiniteError, match="step 3.*ce is not finite"):
        list(loop.fit(recipe, state, (), train, lambda d: {}, tiny.ALONE, lambda s: False))
    assert state.step == 3
    (dump,) = tmp_path.iterdir()
    kept = load_file(dump)
    assert torch.equal(kept["batch.index"], expected.index) and torch.equal(kept["batch.images"], expected.images)
    assert all(torch.isfinite(value).all() for name, value in kept.items() if name.startswith("distiller."))


class Late(tiny.Supervised):
    """Supervised training whose `extra` layer is used only after half an epoch, as CA-MKD's embeddings are."""

    def forward(self, batch, teachers, epoch):
        step = super().forward(batch, teachers, epoch)
        if epoch < 0.5:
            return step
        return step._replace(terms=step.terms | {"extra": self.extra(torch.ones(1, 2)).square().sum()})


def test_a_step_is_checked_before_its_checkpoint(monkeypatch):
    """On a GPU, where a step is otherwise checked during the next one."""
    checked, usual = [], FiniteCheck.last
    monkeypatch.setattr(FiniteCheck, "last", lambda self: (checked.append(self._state.step), usual(self)))
    recipe = tiny.recipe(epochs=1)
    train, _ = tiny.data(recipe)
    events = loop.fit(recipe, new_state(recipe, tiny.distiller(), tiny.CPU), (), train, lambda d: {}, tiny.ALONE, bool)
    saved = [event.step for event in events if isinstance(event, loop.Save) and event.step == checked[-1]]
    assert saved == list(range(1, total_steps(recipe, train.size)))


def test_a_module_may_be_unused_in_early_steps():
    """Before, nothing changes it; after, it is updated as by SGD with initial velocity 0."""
    distiller = Late(tiny.Supervised.Config(), tiny.network())
    distiller.extra = torch.nn.Linear(2, 1, bias=False)
    weight = distiller.extra.weight.detach().double().clone()
    before = weight.clone()
    recipe = tiny.recipe(optimizer=SGD(learning_rate=0.01, weight_decay=0.1), schedule=Steps())
    run(recipe, distiller)
    velocity = torch.zeros_like(weight)
    for step in range(total_steps(recipe, 1347)):
        if step * recipe.batch_size / 1347 >= 0.5:
            gradient = 2 * weight.sum() * torch.ones_like(weight) + 0.1 * weight
            velocity = 0.9 * velocity + gradient
            weight = weight - 0.01 * (gradient + 0.9 * velocity)
    torch.testing.assert_close(distiller.extra.weight.detach().double(), weight, rtol=1e-4, atol=1e-6)
    assert not torch.equal(weight, before)


@pytest.mark.slow
def test_compiled_distillers_train_the_same():
    plain = run(tiny.recipe(epochs=0.2))[0]
    compiled = run(tiny.recipe(epochs=0.2, precision=Precision(channels_last=False, compile=True)))[0]
    for a, b in zip(weights(plain).values(), weights(compiled).values()):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def worker(rank, world, folder):
    """One of `world` workers: 20 steps of the BatchNorm-free network."""
    recipe = tiny.recipe(batch_size=63)  # no multiple of 2: shares differ
    train, _ = tiny.data(recipe, rank, world)
    state = new_state(recipe, tiny.distiller(), tiny.CPU)
    for event in loop.fit(
        recipe, state, (), train, lambda d: {}, Placement(tiny.CPU, 1, rank, world), lambda step: step == 20
    ):
        if isinstance(event, (loop.Save, loop.Epoch)):
            break
    assert state.step == 20
    if rank == 0:
        torch.save(weights(state), folder / "weights.pt")


def test_one_and_two_workers_make_the_same_updates(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for world, folder in enumerate(folders, 1):
        folder.mkdir()
        run_workers(worker, world, folder, world=world, folder=folder)
    one, two = (torch.load(folder / "weights.pt", weights_only=True) for folder in folders)
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-5, atol=1e-5)


def normed_worker(rank, folder, reads_buffers):
    """Two workers train a network with BatchNorm and write the buffers that each evaluates with."""
    recipe = tiny.recipe(epochs=0.2, ema=0.5)
    train, _ = tiny.data(recipe, rank, 2)
    torch.manual_seed(0)
    distiller = tiny.Supervised.Config().build(lambda: tiny.create("resnet8", 10, image_size=32), ())
    distiller.reads_buffers = reads_buffers
    state = new_state(recipe, distiller, tiny.CPU)

    def evaluate(evaluated):
        torch.save({name: value.clone() for name, value in evaluated.named_buffers()}, folder / f"{rank}.pt")
        return {}

    list(loop.fit(recipe, state, (), train, evaluate, Placement(tiny.CPU, 1, rank, 2), lambda step: False))


def test_all_workers_evaluate_with_rank_0_batch_statistics(tmp_path):
    """Those that are saved; each worker's own differ, as each normalises its own part of the batch.

    The first worker's are the same whether all take them before every step or only now.
    """
    found = []
    for reads_buffers in (False, True):
        folder = tmp_path / str(reads_buffers)
        folder.mkdir()
        run_workers(normed_worker, folder, reads_buffers, world=2, folder=folder)
        found += [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert found[0] and all(equal(found[0], each) for each in found[1:])


@pytest.mark.parametrize(("parts", "sizes"), [(1, [7]), (3, [3, 2, 2]), (9, [1] * 7)])
def test_accumulation_uses_every_sample_once(parts, sizes):
    batch = Batch(torch.randn(7, 3, 2, 2), torch.arange(7), torch.arange(7))
    found = list(split_batch(batch, parts))
    assert [len(part.index) for part in found] == sizes
    assert torch.equal(torch.cat([part.index for part in found]), batch.index)


def test_schedules_equal_their_formulas():
    recipe = tiny.recipe(
        epochs=300, batch_size=128, optimizer=SGD(learning_rate=0.1), schedule=Steps(milestones=(150, 225))
    )
    size = 50_000
    rates = [optim.learning_rate(recipe, step, size) for step in range(0, total_steps(recipe, size), 97)]
    epochs = np.arange(len(rates)) * 97 * 128 / size
    np.testing.assert_allclose(rates, 0.1 * 0.1 ** ((epochs >= 150).astype(int) + (epochs >= 225)), rtol=1e-12)
    warm = replace(recipe, schedule=Cosine(warmup_steps=1500, final=0.1))
    total = total_steps(warm, size)
    step = np.arange(0, total, 331)
    passed = (step - 1500) / (total - 1500)
    wanted = np.where(step < 1500, 0.1 * step / 1500, 0.1 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * passed))))
    np.testing.assert_allclose([optim.learning_rate(warm, int(s), size) for s in step], wanted, rtol=1e-12)


@pytest.mark.parametrize("vectors", [True, False])
def test_norms_and_biases_decay_only_if_the_recipe_says_so(vectors):
    module = tiny.network()
    groups = optim.parameter_groups(module, 0.1, vectors)
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in module.parameters() if vectors or p.ndim > 1}
    assert sum(len(group["params"]) for group in groups) == len(list(module.parameters()))


def test_funmatch_weight_decay_is_independent_of_the_learning_rate():
    """big_vision: p ← p − schedule · wd · p, whatever the peak rate."""
    config = AdamW(learning_rate=0.02, weight_decay=1e-3, decay="schedule-only")
    p = torch.nn.Parameter(torch.ones(3, 3))
    optimizer = optim.build(config, torch.nn.ParameterList([p]))
    p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(p.detach(), torch.full((3, 3), 1 - 1e-3))


def test_early_stopping_ends_the_run():
    """Three evaluations without a better top-1 end it; resumed at that point it trains no more."""
    recipe = tiny.recipe(epochs=9, patience=3)
    scores = iter((0.1, 0.5, 0.5, 0.4, 0.3, 0.9))
    train, test = tiny.data(recipe)
    state = new_state(recipe, tiny.distiller(), tiny.CPU)

    def evaluate(distiller):
        return {"evaluation": {"student": {"top1": next(scores)}}}

    def ends(state):
        events = loop.fit(recipe, state, (), train, evaluate, tiny.ALONE, lambda step: False)
        return [event.epoch for event in events if isinstance(event, loop.Epoch)]

    assert len(ends(state)) == 5 and state.waited == 3
    again = new_state(recipe, tiny.distiller(), tiny.CPU)
    again.restore(reread(state.snapshot()))
    assert ends(again) == []

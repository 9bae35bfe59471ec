"""The initialise phase: its own terms, optimizer and schedule, in the same loop and run."""

from dataclasses import dataclass, replace

import pytest
import torch

from raykd import UserError
from raykd.contract import Step
from raykd.launch.driver.validate import check
from raykd.losses import cross_entropy
from raykd.method import MethodConfig
from raykd.methods.base.student import SingleStudent
from raykd.recipe import SGD, Cosine, Initialise, Steps
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.length import epoch_at, initial_steps, total_steps
from raykd.recipe.serial import from_dict, to_dict
from raykd.training import loop
from raykd.training.update import optim
from raykd.training.update.state import new_state
from tests.support import tiny_training as tiny
from tests.training.test_loop import equal, reread, run, weights


class TwoPhases(SingleStudent):
    """First the mean square of the maps of stage 1, then the cross-entropy."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        kind = "features"
        initialises = True
        uses_teachers = False

        def build(self, new_student, teachers):
            return TwoPhases(self, new_student())

    student_features = ("stage1",)

    def step(self, student, batch, teachers, epoch):
        assert self.initialising == (epoch < 0)
        if self.initialising:
            return Step({"first": student.features["stage1"].square().mean()}, {})
        return Step({"ce": cross_entropy(student.logits, batch.labels)}, {})


def recipe(**changes):
    first = Initialise(epochs=1, optimizer=SGD(learning_rate=0.5, momentum=0.0, nesterov=False), schedule=Cosine())
    plain = tiny.recipe(epochs=1, schedule=Steps(milestones=(0.5,)), method=TwoPhases.Config(), initialise=first)
    return replace(plain, **changes)


def distiller(seed=0):
    return tiny.distiller(TwoPhases.Config(), seed=seed)


def test_the_initialise_phase_ends_at_epoch_0_without_an_evaluation():
    chosen = recipe(epochs=2, evaluate_every=1)
    _, events, _ = run(chosen, distiller())
    lines = [event.line for event in events if isinstance(event, loop.Epoch)]
    assert [round(line["epoch"]) for line in lines] == [0, 1, 2]
    assert [list(line["terms"]) for line in lines] == [["first"], ["ce"], ["ce"]]
    assert [line.get("phase") for line in lines] == ["initialise", None, None]
    assert ["evaluation" in line for line in lines] == [False, True, True]
    assert lines[0]["epoch"] == 0 and lines[0]["step"] == initial_steps(chosen, 1347)
    assert lines[-1]["step"] == total_steps(chosen, 1347) == 1347 // chosen.batch_size + 2 * 1347 // chosen.batch_size


def test_each_phase_has_its_own_learning_rate():
    chosen = recipe()
    first, total = initial_steps(chosen, 1347), total_steps(chosen, 1347)
    rates = [optim.learning_rate(chosen, step, 1347) for step in range(total)]
    assert rates[0] == 0.5 and 0 < rates[first - 1] < 0.01  # half a cosine
    peak = chosen.optimizer.learning_rate
    epochs = [epoch_at(step, chosen, 1347) for step in range(first, total)]
    assert rates[first:] == [pytest.approx(peak if epoch < 0.5 else peak / 10) for epoch in epochs]


def test_each_phase_has_its_own_optimizer():
    chosen = recipe()
    first = initial_steps(chosen, 1347)
    _, _, snapshots = run(chosen, distiller(), save_due=lambda step: step in (first - 1, first + 1))
    train, test = tiny.data(chosen)
    student = distiller()
    student.initialising = True
    plain = torch.optim.SGD(student.parameters(), lr=0.5, weight_decay=chosen.initialise.optimizer.weight_decay)
    for step, batch in zip(range(first - 1), train.batches(0, first - 1)):
        plain.param_groups[0]["lr"] = optim.learning_rate(chosen, step, train.size)
        plain.zero_grad()
        student(batch, [], epoch_at(step, chosen, train.size)).terms["first"].backward()
        plain.step()
    for name, value in student.state_dict().items():
        torch.testing.assert_close(snapshots[first - 1]["distiller"][name], value, rtol=1e-5, atol=1e-6)
    momenta = [snapshots[step]["optimizer"]["state"].values() for step in (first - 1, first + 1)]
    before, after = ([float(entry["momentum_buffer"].abs().sum()) for entry in each] for each in momenta)
    assert not any(before) and any(after)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.9}], ids=["plain", "ema"])
def test_a_run_resumed_in_either_phase_is_bit_identical(changes):
    chosen = recipe(**changes)
    first = initial_steps(chosen, 1347)
    whole, _, snapshots = run(chosen, distiller(), save_due=lambda step: step in (5, first - 1, first + 3))
    assert set(snapshots) == {5, first - 1, first + 3}
    for snapshot in snapshots.values():
        state = new_state(chosen, distiller(seed=99), tiny.CPU)
        state.restore(reread(snapshot))
        state, _, _ = run(chosen, state=state)
        assert equal(weights(state), weights(whole))
        if whole.ema is not None:
            assert equal(state.ema.state_dict(), whole.ema.state_dict())


def test_only_a_used_phase_is_part_of_the_fingerprint():
    plain = tiny.recipe()
    assert fingerprint(recipe()) != fingerprint(recipe(initialise=Initialise(epochs=2)))
    older = to_dict(plain)
    del older["initialise"]
    assert fingerprint(from_dict(older)) == fingerprint(plain)


def test_a_phase_must_be_set_exactly_if_the_method_has_one():
    with pytest.raises(UserError, match="initialise.epochs: 3, but Supervised has no such phase"):
        check(tiny.recipe(initialise=Initialise(epochs=3)))
    with pytest.raises(UserError, match="initialise.epochs: 0 leaves initialise.optimizer"):
        check(tiny.recipe(initialise=Initialise(optimizer=SGD(learning_rate=9.0))))
    with pytest.raises(UserError, match="initialise.epochs: 0, but TwoPhases needs such a phase"):
        check(recipe(initialise=Initialise()))

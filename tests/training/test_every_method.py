"""Every method trains on digits, and a resumed run is bit-identical to an uninterrupted one."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from raykd.contract import Batch, Placement
from raykd.models.staged import parameters
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.training import loop
from raykd.training.update.state import State, new_state
from tests.support import every_method
from tests.support.tiny_methods import SIZE, tiny
from tests.support.tiny_training import CPU, recipe

BATCH, EPOCHS, STEPS, RESUMED = 64, 2, 6, 2  # two passes: some methods have terms that count from the second one on
WIDTHS = {"student": 8, "teacher": 6}


class InMemory:
    """What the training loop needs of a loader: 200 digits, enlarged to the size of the tiny networks."""

    size = 200

    def __init__(self) -> None:
        digits = load_digits()
        images = np.kron(digits.images[: self.size], np.ones((SIZE // 8, SIZE // 8))) / 8 - 1
        self.images = torch.from_numpy(images).float().unsqueeze(1).repeat(1, 3, 1, 1)
        self.labels = torch.from_numpy(digits.target[: self.size]).long()

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            index = (torch.arange(BATCH) + step * BATCH) % self.size
            yield Batch(self.images[index], self.labels[index], index)


DATA = InMemory()


def network(name: str):
    return tiny(width=WIDTHS[name], classes=10)


def run(case, chosen, teachers, snapshot: dict | None = None) -> tuple[State, dict]:
    """A whole run, or what a snapshot lacks; the state at its end, and the snapshot after step `RESUMED`."""
    torch.manual_seed(chosen.seed)
    distiller = case.build(network, [teacher.network for teacher in teachers], BATCH)
    distiller.set_training_labels(DATA.labels)
    state, kept = new_state(chosen, distiller, CPU), {}
    if snapshot is not None:
        state.restore(snapshot)
        assert state.step == RESUMED
    for event in loop.fit(chosen, state, teachers, DATA, lambda d: {}, Placement(CPU, 1), lambda step: step == RESUMED):
        if isinstance(event, loop.Save):
            file = io.BytesIO()
            torch.save(state.snapshot(), file)
            kept = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    return state, kept


@pytest.mark.parametrize("name", every_method.configs())
def test_every_method_trains_and_resumes_bit_for_bit(name: str):
    case = every_method.case_of(every_method.configs()[name], network, ("student",), "teacher")
    chosen = recipe(method=case.config, batch_size=BATCH, epochs=EPOCHS)
    torch.manual_seed(1)
    networks = [network(taught).eval().requires_grad_(False) for taught in case.teachers]
    teachers = [FrozenTeacher(f"t{k}", taught, "", parameters(taught)) for k, taught in enumerate(networks)]
    whole, snapshot = run(case, chosen, teachers)
    assert whole.step == STEPS
    before, after = snapshot["distiller"], whole.distiller.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in after)
    again, _ = run(case, chosen, teachers, snapshot)
    found = again.distiller.state_dict()
    assert [key for key in after if not torch.equal(found[key], after[key])] == []

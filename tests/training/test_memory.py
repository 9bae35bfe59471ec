"""State besides parameters: checkpoints contain CRD's memories, and resumed runs are bit-identical."""

import torch

from raykd.data.storage.prepare import prepare
from raykd.data.subsets import training_labels
from raykd.methods.crd import CRD
from raykd.training.update.state import new_state
from tests.support import tiny_training as tiny
from tests.training.test_loop import equal, reread, run, teacher, weights


def made(chosen, seed: int = 0) -> CRD:
    distiller = tiny.distiller(chosen.method, [teacher().network], seed=seed)
    distiller.set_training_labels(training_labels(chosen.data, prepare(chosen.data)))
    return distiller


def test_a_resumed_run_with_memory_banks_is_bit_identical():
    chosen = tiny.recipe(epochs=1, method=CRD.Config(negatives=64))
    whole, events, snapshots = run(chosen, made(chosen), [teacher()], save_due=lambda step: step == 9)
    assert events[-1].line["terms"]["contrast"] > 0 and int(whole.distiller.steps) == whole.step
    state = new_state(chosen, made(chosen), tiny.CPU)
    state.restore(reread(snapshots[9]))
    state, _, _ = run(chosen, teachers=[teacher()], state=state)
    assert equal(weights(state), weights(whole))


def test_training_labels_mark_the_held_out_rows():
    chosen = tiny.recipe()
    plain = training_labels(chosen.data, prepare(chosen.data))
    held = training_labels(tiny.dataclasses.replace(chosen.data, validation=0.2), prepare(chosen.data))
    assert len(plain) == 1347 and (plain >= 0).all() and torch.equal(held[held >= 0], plain[held >= 0])
    assert 0.15 < (held < 0).float().mean() < 0.25

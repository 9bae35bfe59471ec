"""Every method's updates on a GPU."""

import pytest
import torch

from raykd.recipe import SGD, AdamW, Precision, Shampoo
from raykd.training.process import use_device
from raykd.training.update.nonfinite import NotFiniteError
from tests.gpu import runs


@pytest.mark.parametrize("name", runs.METHODS)
def test_an_update_never_synchronises(device, name):
    run = runs.running(name, device, ema=0.9, optimizer=SGD(learning_rate=0.01, clip_norm=1.0))
    batches = [run.data.batch(k) for k in range(5)]
    for batch in batches[:2]:  # objects that are created lazily
        runs.step(run, batch)
    if device.type == "cpu":
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[2:]:
            runs.step(run, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", runs.METHODS)
def test_five_steps_have_the_cpus_losses(device, name):
    slow = {"optimizer": SGD(learning_rate=1e-3)}
    there, here = (runs.losses(runs.running(name, place, **slow), 5) for place in (device, torch.device("cpu")))
    assert there == pytest.approx(here, rel=2e-3)


CHANGES = {
    "sgd": {"optimizer": SGD(learning_rate=0.01, clip_norm=1.0)},
    "adamw, ema": {"optimizer": AdamW(), "ema": 0.9},
    "shampoo": {"optimizer": Shampoo()},
    "accumulated": {"accumulate": 3},
    "float16": {"precision": Precision(autocast="float16")},
    "bfloat16": {"precision": Precision(autocast="bfloat16")},
}


def resumed(name, device, changes):
    """The weights after six steps, and those of a run that goes on after three from a checkpoint."""
    if device.type == "cpu" and "precision" in changes:
        pytest.skip("for GPUs")
    whole = runs.running(name, device, **changes)
    runs.losses(whole, 3)
    snapshot = whole.state.snapshot()
    runs.losses(whole, 3)
    again = runs.running(name, device, seed=9, **changes)
    again.recipe = whole.recipe
    again.state.restore(snapshot)
    runs.losses(again, 3)
    return runs.weights(whole), runs.weights(again)


@pytest.mark.parametrize("name", runs.METHODS)
def test_a_run_resumes_bit_for_bit(repeatable, name):
    assert runs.equal(*resumed(name, repeatable, {}))


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_every_optimizer_resumes_bit_for_bit(repeatable, changes):
    assert runs.equal(*resumed("KD", repeatable, changes))


@pytest.mark.parametrize("name", runs.METHODS)
def test_a_run_resumes_nearly_identically_without_deterministic_mode(device, name):
    whole, again = resumed(name, device, {})
    for key, value in whole.items():
        torch.testing.assert_close(again[key], value, rtol=1e-2, atol=1e-3)


def test_a_non_finite_gradient_changes_no_weight_and_ends_the_run(device):
    run = runs.running("Supervised", device)
    runs.losses(run, 2)
    before = {name: p.detach().clone() for name, p in run.state.distiller.named_parameters()}
    batch = run.data.batch(2)
    batch.images[0] = float("nan")
    with pytest.raises(NotFiniteError, match="step 2"):
        runs.step(run, batch)
        run.check.last()
    assert all(torch.equal(p, before[name]) for name, p in run.state.distiller.named_parameters())


@pytest.mark.parametrize("name", ["KD", "OKDDip", "AEKD", "CAMKD"])
def test_a_compiled_distiller_gives_the_same_losses(device, name):
    slow = {"optimizer": SGD(learning_rate=1e-3)}
    plain = runs.losses(runs.running(name, device, **slow), 4)
    compiled = runs.losses(runs.running(name, device, precision=Precision(compile=True), **slow), 4)
    assert compiled == pytest.approx(plain, rel=2e-3)


def test_memory_does_not_grow_with_steps(device):
    if device.type == "cpu":
        pytest.skip("counts the GPU's memory")
    run = runs.running("OKDDip", device, ema=0.9)
    batch, seen = run.data.batch(0), []
    for k in range(1000):
        runs.step(run, batch)
        if k in (99, 999):
            torch.cuda.synchronize()
            seen.append(torch.cuda.memory_allocated())
    assert seen[1] <= seen[0] + 2**20


def test_a_run_stays_within_its_share_of_gpu_memory(device):
    if device.type == "cpu":
        pytest.skip("for GPUs")
    total = torch.cuda.get_device_properties(device).total_memory
    use_device(device, Precision(), 0.25)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(int(total * 0.3), dtype=torch.uint8, device=device)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)

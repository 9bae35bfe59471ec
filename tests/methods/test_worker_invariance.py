"""Two workers, and the parts of an accumulated batch, make the gradients of one worker and the whole batch."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm

from raykd.contract import Batch, Distiller
from raykd.teachers.outputs import split_batch
from tests.support.gloo_workers import run_workers
from tests.support.tiny_methods import EVERY, data, distiller_for, run, teachers_for

GLOBAL, FIRST = 7, 3  # the workers' shares differ


def gradients(name: str, share: slice) -> tuple[dict[str, torch.Tensor], float]:
    """Gradients and loss of this worker's share, weighted so that the mean over workers is the global mean."""
    teachers = teachers_for(name)
    distiller = distiller_for(name, teachers).double().train()
    settle(distiller)
    whole = data(GLOBAL)
    workers = dist.get_world_size() if dist.is_initialized() else 1
    batch = Batch(*(x[share] for x in whole[:3]), (FIRST, GLOBAL - FIRST) if workers == 2 else ())
    step = run(distiller, teachers, batch)
    loss = sum(step.terms.values()) * (len(batch.labels) * workers / GLOBAL)
    loss.backward()
    found = {key: p.grad.clone() for key, p in distiller.named_parameters() if p.grad is not None}
    memories = {key: b.double() for key, b in distiller.named_buffers() if key.endswith("_memory")}
    return found | memories, loss.item()  # memories are the same on both too, so their mean equals each


def settle(distiller: Distiller) -> None:
    """Use running BatchNorm statistics, since batch statistics depend on the worker's part."""
    for module in distiller.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def worker(rank: int, folder: Path) -> None:
    share = slice(0, FIRST) if rank == 0 else slice(FIRST, GLOBAL)
    averaged = {}
    for name in EVERY:
        own, loss = gradients(name, share)
        for value in own.values():
            dist.all_reduce(value)
            value /= 2
        total = torch.tensor(loss, dtype=torch.float64)
        dist.all_reduce(total)
        averaged[name] = (own, float(total) / 2)
    if rank == 0:
        torch.save(averaged, folder / "averaged.pt")


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory) -> dict[str, tuple[dict[str, torch.Tensor], float]]:
    folder = tmp_path_factory.mktemp("workers")
    run_workers(worker, folder, world=2, folder=folder)
    return torch.load(folder / "averaged.pt", weights_only=True)


@pytest.mark.parametrize("name", EVERY)
def test_two_workers_compute_the_gradients_of_one(name: str, of_two_workers):
    alone, loss = gradients(name, slice(0, GLOBAL))
    together, mean_loss = of_two_workers[name]
    largest = max(float(g.abs().max()) for g in alone.values())
    assert largest > 0
    assert mean_loss == pytest.approx(loss, rel=1e-9)
    for key, expected in alone.items():
        assert float((together[key] - expected).abs().max()) <= 1e-7 * largest, key


def in_parts(name: str, parts: int) -> dict[str, torch.Tensor]:
    """Gradients of the global batch, accumulated over its parts as a training step does."""
    teachers = teachers_for(name)
    distiller = distiller_for(name, teachers, batch=GLOBAL).double().train()
    settle(distiller)
    for part in split_batch(data(GLOBAL), parts):
        terms = run(distiller, teachers, part).terms
        (sum(terms.values()) * (len(part.index) / GLOBAL)).backward()
    return {key: p.grad for key, p in distiller.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", EVERY)
def test_accumulation_changes_only_methods_that_say_so(name: str):
    whole, parts = in_parts(name, 1), in_parts(name, 2)
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    change = max(float((parts[key] - whole[key]).abs().max()) for key in whole) / largest
    # Rounding is below 1e-12; the methods that depend on the batch only weakly (PKT, AEKD) change by 1e-8 and more.
    assert (change > 1e-10) == EVERY[name].compares_images

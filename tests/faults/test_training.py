"""Failures during training are reported, and a changing number of workers does not change the result."""

import time
from dataclasses import replace

import pytest
import torch

from raykd.contract import Placement
from raykd.launch.run_state import client as state_client
from raykd.launch.run_state import failure
from raykd.launch.run_state.client import position_of
from raykd.launch.run_state.messages import Requests, WorkerStatus
from raykd.recipe import Debug
from raykd.training import loop
from raykd.training.update.nonfinite import NotFiniteError
from raykd.training.update.state import new_state
from tests.faults.stage import group
from tests.support import tiny_training as tiny


def fit(recipe, state, spoil=lambda step: None):
    train, _ = tiny.data(recipe)
    for event in loop.fit(recipe, state, (), train, lambda d: {"evaluation": {}}, tiny.ALONE, lambda step: True):
        spoil(event.step)


def test_a_non_finite_gradient_is_reported_before_the_update(tmp_path):
    """The loss is finite, but its gradient overflows: the dump has the weights before the update."""
    recipe = tiny.recipe(debug=Debug(nan_dump=str(tmp_path)))
    state = new_state(recipe, tiny.distiller(), tiny.CPU)
    parameter = state.distiller.student.model.fc.bias

    def spoil(step):
        if step == 3:
            parameter.register_hook(lambda gradient: gradient * float("inf"))

    with pytest.raises(NotFiniteError, match=r"step 3, worker 0: the gradient is not finite.*samples \d+, "):
        fit(recipe, state, spoil)
    assert all(torch.isfinite(value).all() for value in state.distiller.state_dict().values())
    (dump,) = tmp_path.iterdir()
    assert dump.name == "step-000000003-rank-0.safetensors"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_a_gpu_skips_a_non_finite_update_without_synchronising(tmp_path, optimizer):
    import raykd.recipe

    device = torch.device("cuda")
    recipe = tiny.recipe(debug=Debug(nan_dump=str(tmp_path)), optimizer=getattr(raykd.recipe, optimizer)())
    state = new_state(recipe, tiny.distiller(), device)
    train, _ = tiny.data(recipe)
    kept, calls, forward = {}, [], state.distiller.student.forward

    def poisoned(images):
        calls.append(1)
        if len(calls) == 4:
            kept.update({name: p.detach().clone() for name, p in state.distiller.named_parameters()})
        return forward(images) * (float("nan") if len(calls) == 4 else 1.0)

    state.distiller.student.forward = poisoned

    class OnGpu:
        size = train.size

        def batches(self, start, stop):
            for batch in train.batches(start, stop):
                yield type(batch)(*(tensor.to(device) for tensor in batch))

    with pytest.raises(NotFiniteError, match="step 3.*ce"):
        list(loop.fit(recipe, state, (), OnGpu(), lambda d: {}, Placement(device, 1), lambda step: False))
    assert all(torch.equal(p, kept[name]) for name, p in state.distiller.named_parameters())
    assert len(calls) == 5, "judged one step later"


def test_a_nan_ends_the_run_with_status_1_and_a_dump(stage, tmp_path):
    recipe = stage.recipe("supervised", "optimizer=SGD(learning_rate=1000.0)")
    process = stage.train(recipe, "nan", "--debug.nan-dump", tmp_path / "dump")
    assert process.end() == 1
    said = " ".join(process.said.split())
    assert "is not finite" in said and "(samples " in said and "Traceback" not in said
    assert len(list((tmp_path / "dump").iterdir())) == 1


def test_the_worker_that_blocks_the_others_is_named():
    workers = {
        0: WorkerStatus("a", 1, "loop.py, line 3, in update", waits=True),
        1: WorkerStatus("b", 2, "mine.py, line 7, in forward", waits=False),
    }
    size = failure.Size(("student resnet8",), 64, 1, 15, 0.0)
    timeout = {0: RuntimeError("Application timeout caused pair closure")}
    line = failure.explain(timeout, workers, size)
    assert "worker 1 (b, process 2), was at mine.py, line 7" in line and "15 s" in line and "worker 0" not in line
    workers[0] = replace(workers[0], reported=time.monotonic() - 60.0)
    assert "worker 0 (a, process 1), silent for 60 s" in failure.explain(timeout, workers, size)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
        type("OutOfMemoryError", (Exception,), {})("Task was killed due to the node running low on memory."),
    ],
)
def test_out_of_memory_names_batch_size_networks_and_settings(error):
    from raykd.recipes.digits.kd import recipe

    for line in (failure.fatal(error, recipe, 0, 2).line, failure.explain({0: error}, {}, failure.Size.of(recipe))):
        for word in ("resnet8", "resnet20", "batch_size 64", "--batch-size", "--accumulate", "bfloat16"):
            assert word in line


def test_a_node_that_ran_out_of_memory_is_named():
    """With Ray's error message from a worker killed by its memory monitor."""
    from ray.exceptions import OutOfMemoryError
    from ray.train.v2.api.exceptions import ControllerError

    text = (
        "3 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.7, ID: 7af) was "
        "6.73GB used / 23.54GB limit (0.285780)\nOOM kill reason: Memory usage 7207301120B exceeded threshold\n"
        "Considered workers: [...]\nTo adjust the kill threshold, set the environment variable"
    )
    size = failure.Size(("student resnet8",), 64, 1, 15, 0.0)
    workers = {rank: WorkerStatus("here", rank, "", waits=False) for rank in range(2)}
    killed = failure.explain({1: OutOfMemoryError(text), 0: RuntimeError("connection closed")}, workers, size)
    for line in (killed, failure.of_train(ControllerError(OutOfMemoryError(text)), size, 2)):
        assert line.startswith("the memory of node 10.0.0.7 was full (6.73GB used / 23.54GB limit), so Ray killed")
        assert "batch_size 64 (32 images at once" in line and "\n" not in line


def test_a_threads_location_is_in_the_users_code():
    import threading

    began = threading.Event()

    def mine():
        began.set()
        time.sleep(1)

    thread = threading.Thread(target=mine)
    thread.start()
    began.wait()
    time.sleep(0.05)
    at, waits = position_of(thread.ident)
    thread.join()
    assert "test_training.py" in at and at.endswith("in mine") and not waits


def test_the_last_location_of_an_ended_worker_is_kept(monkeypatch):
    """The last message is sent while the connection closes, where a worker can't be stuck."""
    positions = []

    class Report:
        @staticmethod
        def remote(rank, progress, worker):
            positions.append(worker.at)
            return Requests()

    monkeypatch.setattr(state_client.ray, "get", lambda answer: answer)
    client = state_client.StateClient(type("State", (), {"report": Report})(), 0, seconds=0.02)
    while not positions:
        time.sleep(0.02)
    client.close()
    assert all("test_training.py" in position and "ended_worker" in position for position in positions)


def test_a_changing_number_of_workers_does_not_change_the_result(stage):
    """20 steps by one worker, against 1, then 2, then 1 worker, each resuming from the previous checkpoint."""
    method = f"epochs=0.96, method={stage.tiny()}"
    whole = stage.recipe("supervised", method)
    assert group(stage, whole, "elastic-1", 1) == [0]
    changing = stage.recipe("supervised", method, "deaths=(0.3, 0.6)")
    for world in (1, 2, 1):
        statuses = group(stage, changing, "elastic-121", world)
    assert statuses == [0]
    assert [a["workers"] for a in stage.json("elastic-121", "attempts.json")] == [1, 2, 1]
    one, changed = stage.state("elastic-1"), stage.state("elastic-121")
    assert one["/step"] == changed["/step"] == 20
    for name, value in one.items():
        if name.startswith("/distiller"):
            torch.testing.assert_close(changed[name], value, rtol=1e-5, atol=1e-5)


def test_nccls_watchdog_error_names_the_blocking_worker():
    """The watchdog aborts the process, and Ray only knows that it died."""
    lost = RuntimeError("The actor died.\n  The worker process has died. Exit type: SYSTEM_ERROR Exit detail: SIGABRT")
    busy = WorkerStatus("b", 2, "mine.py, line 7, in forward", waits=False, seconds=59.0)
    waits = WorkerStatus("a", 1, "loop.py, line 9, in _values", waits=True, seconds=58.0)
    size = failure.Size(("student resnet8",), 64, 1, 60, 1.0)
    line = failure.explain({0: lost}, {0: waits, 1: busy}, size)
    assert "60 s" in line and "worker 1 (b, process 2), was at mine.py" in line
    assert "its process was lost" in failure.explain({0: lost}, {0: replace(waits, seconds=3.0), 1: busy}, size)


def test_a_worker_waiting_for_its_gpu_is_not_called_blocking():
    """A GPU's queue may contain a collective that another worker has not reached; the reported location is the
    caller's."""
    import functools
    import threading

    from raykd.data.device.fetch import wait_for

    class Pending:
        synchronize = functools.partial(time.sleep, 1)

    def mine():
        wait_for(Pending)

    thread = threading.Thread(target=mine)
    thread.start()
    time.sleep(0.2)
    at, waits = position_of(thread.ident)
    thread.join()
    assert waits and at.endswith("in mine")

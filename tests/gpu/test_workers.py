"""Two GPUs: the updates of one and of two workers, and a killed or stuck worker."""

import pytest
import torch

from raykd.contract import Placement
from raykd.recipe import SGD
from tests.gpu import runs

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")


def worker(rank, world, folder):
    """Six steps of KD; each worker has its part of every batch."""
    from raykd.contract import Batch
    from raykd.recipe import Precision
    from raykd.training.process import use_device
    from raykd.training.update.step import StepContext, wrap

    device = torch.device("cuda", rank)
    use_device(device, Precision(tf32=False), 1.0)
    place = f"file://{folder}/rendezvous-{world}"
    torch.distributed.init_process_group("nccl", init_method=place, rank=rank, world_size=world)
    made = runs.running("KD", device, optimizer=SGD(learning_rate=1e-3))
    run = StepContext(
        made.recipe,
        made.state,
        wrap(made.recipe, made.state.distiller, device),
        made.teachers,
        made.data,
        Placement(device, 1, rank, world),
    )
    run.model.eval()  # batch statistics are each worker's own
    for number in range(6):
        whole = run.data.batch(number)
        first, last = rank * runs.BATCH // world, (rank + 1) * runs.BATCH // world
        runs.step(run, Batch(*(tensor[first:last] for tensor in whole[:3])))
    if rank == 0:
        torch.save(runs.weights(run), f"{folder}/{world}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_one_and_two_workers_make_the_same_updates(tmp_path):
    for world in (1, 2):
        torch.multiprocessing.spawn(worker, (world, str(tmp_path)), nprocs=world)
    one, two = (torch.load(tmp_path / f"{world}.pt", weights_only=True) for world in (1, 2))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fault", ["killed", "stuck"])
def test_a_run_survives_the_loss_of_a_worker(tmp_path, fault):
    """Through the command line and Ray; the line that the user sees names the worker."""
    import subprocess
    import sys

    pytest.importorskip("ray")
    text = (
        "import os, signal, time\nfrom dataclasses import dataclass, replace\nfrom pathlib import Path\nimport "
        "torch\nfrom raykd.methods.supervised import Supervised\nfrom raykd.recipes.digits.supervised import recipe as "
        f"digits\nMARK = Path({str(tmp_path)!r}) / 'mark'\nclass Faulty(Supervised):\n    @dataclass(frozen=True, "
        "kw_only=True)\n    class Config(Supervised.Config):\n        def build(self, new_student, "
        "teachers):\n            return Faulty(self, new_student())\n    def forward(self, batch, teachers, "
        "epoch):\n        rank = torch.distributed.get_rank()\n        if epoch > 1 and rank == 1 and not "
        "MARK.exists():\n            MARK.touch()\n"
        + (
            "            os.kill(os.getpid(), signal.SIGKILL)\n"
            if fault == "killed"
            else "            time.sleep(600)\n"
        )
        + "        return super().forward(batch, teachers, epoch)\n"
        "recipe = replace(digits, method=Faulty.Config(), workers=2, gpus_per_worker=1, epochs=3,\n"
        "                 collective_timeout=30)\n"
    )
    recipe = tmp_path / "faulty.py"
    recipe.write_text(text)
    command = [
        sys.executable,
        "-m",
        "raykd",
        "train",
        str(recipe),
        "--name",
        fault,
        "--storage",
        str(tmp_path / "runs"),
    ]
    done = subprocess.run([*command, "--wandb.mode", "disabled"], capture_output=True, text=True, timeout=500)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and (tmp_path / "mark").exists() and "worker 1" in said

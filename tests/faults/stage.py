"""Runs that are broken on purpose: recipes that use `dying.py`, and `raykd train` in forked processes."""

import json
import multiprocessing
import os
import shutil
import sys
import time
import zlib
from pathlib import Path

import torch

from raykd.runs.checkpoints import checkpoint, stamps
from raykd.storage.folder import Folder

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PRELOAD = ["torch", "torch.utils.flop_counter", "raykd.__main__", "raykd.commands.train", "raykd.commands.summary"]
PRELOAD += ["raykd.launch.worker.worker", "raykd.launch.worker.recorder", "raykd.data.ffcv.engine"]
PRELOAD += ["raykd.training.loop"]
PRELOAD += ["raykd.recipes.digits.kd"]

RECIPE = """
from dataclasses import replace
from dying import Dying
from raykd.models.config import Network
from raykd.recipe import *
from raykd.recipes.digits.supervised import recipe as supervised
from raykd.recipes.digits.{base} import recipe as base

small = replace(supervised, epochs=0.2, workers=0, wandb=WandB(mode="disabled"))
sources = tuple(replace(source, recipe=small) for source in base.teachers.sources)
base = replace(base, teachers=replace(base.teachers, sources=sources))
base = replace(base, wandb=WandB(mode="disabled"), workers=0, epochs=1.0)
base = replace(base, checkpoint=Checkpoint(every="2 steps"), schedule=Cosine(warmup_steps=3))
base = replace(base, {changes})
recipe = replace(base, method=Dying(inner=base.method, flags={flags!r}, {fate}))
"""

TINY = """
import sys
sys.path.insert(0, {root!r})
from dataclasses import dataclass
from raykd.method import MethodConfig
from raykd.methods.supervised import Supervised
from torch import nn
from tests.support.tiny_training import network
# Smooth, as a ReLU makes a jump of a rounding error: then one worker and two are the same to rounding.
class Tiny(Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        def build(self, new_student, teachers):
            return Tiny(self, network(activation=nn.SiLU))
"""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(PRELOAD)


class Stage:
    """One test's folder: recipes, flags, and runs below `storage`."""

    def __init__(self, folder: Path, storage: Path):
        self.folder, self.storage = folder, storage
        shutil.copy(HERE / "dying.py", folder)

    def recipe(self, base: str, changes: str = "", fate: str = "") -> str:
        """A recipe file: a small version of digits/BASE with `changes`, and with the options `fate` of `Dying`."""
        number = len(list(self.folder.glob("broken*.py")))
        flags = self.folder / f"flags{number}"
        flags.mkdir()
        path = self.folder / f"broken{number}.py"
        path.write_text(RECIPE.format(base=base, changes=changes, flags=str(flags), fate=fate))
        return str(path)

    def tiny(self) -> str:
        """Expression of the supervised method with a network without BatchNorm, of a few hundred parameters."""
        (self.folder / "small.py").write_text(TINY.format(root=str(ROOT)))
        return "__import__('small').Tiny.Config()"

    def start(self, recipe: str, name: str, *more: str) -> "Process":
        """`raykd train` in a separate process."""
        return Process(["train", recipe, "--name", name, "--storage", str(self.storage), *map(str, more)], self.folder)

    def train(self, recipe: str, name: str, *more: str) -> "Process":
        process = self.start(recipe, name, *more)
        process.end()
        return process

    def whole(self, base: str, changes: str = "") -> str:
        """Name of an uninterrupted run of the same recipe, trained once for all tests."""
        name = f"whole/{base}-{zlib.crc32(changes.encode()):08x}"
        if not (self.storage / name / "result.json").exists():
            process = self.train(self.recipe(base, changes), name)
            assert process.end() == 0, process.said
        return name

    def run(self, name: str) -> Folder:
        return Folder(self.storage / name)

    def json(self, name: str, file: str = "result.json"):
        return json.loads((self.storage / name / file).read_text())

    def state(self, name: str) -> dict[str, torch.Tensor]:
        """All tensors and numbers at the end of a run (networks, optimizer, average), without clocks."""
        found, stamp = checkpoint.newest(self.run(name), print)
        return dict(flat({key: found[key] for key in ("step", "distiller", "optimizer", "scaler", "ema")}))

    def wait_for(self, name: str, step: int, seconds: float = 240) -> int:
        """Wait until a run has a checkpoint of that step or a later one."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = stamps.stamps(self.run(name))
            if found and found[-1].step >= step:
                return found[-1].step
            time.sleep(0.02)
        raise AssertionError(f"no checkpoint of step {step} within {seconds} s")


class Process:
    """The command line in a forked process; its output is kept in a file."""

    def __init__(self, arguments: list[str], folder: Path):
        self.log = folder / f"log{len(list(folder.glob('log*')))}"
        self.log.touch()
        self.process = processes.Process(target=command, args=(arguments, str(self.log)), daemon=False)
        self.process.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def end(self, seconds: float = 300) -> int:
        """Exit status; negative: the signal that killed it."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"still running after {seconds} s: {self.said}")
        return self.process.exitcode

    @property
    def said(self) -> str:
        return self.log.read_text()


def command(arguments: list[str], log: str) -> None:
    """Like `console`, with its output in a file."""
    os.chdir(ROOT)
    os.setpgid(0, 0)
    file = os.open(log, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    torch.set_num_threads(1)
    from raykd.__main__ import main

    status = main(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def flat(value, name=""):
    """Leaves of nested dicts and lists, by path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}/{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from flat(item, f"{name}/{i}")
    else:
        yield name, value


def same(a: dict, b: dict) -> list[str]:
    """Paths at which two flat states differ in any bit."""
    return [k for k in a.keys() | b.keys() if k not in a or k not in b or not equal(a[k], b[k])]


def equal(x, y) -> bool:
    return (
        torch.equal(x, y)
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor)
        else type(x) is type(y) and x == y
    )


def group(stage: Stage, recipe: str, name: str, world: int) -> list[int]:
    """A run by `world` workers over gloo, without Ray; returns their exit statuses."""
    meeting = stage.folder / f"meeting-{len(list(stage.folder.glob('meeting*')))}"
    log = stage.folder / f"log{len(list(stage.folder.glob('log*')))}"
    log.touch()
    arguments = (recipe, name, str(stage.storage), world, str(meeting), str(log))
    members = [processes.Process(target=member, args=(rank, *arguments)) for rank in range(world)]
    for process in members:
        process.start()
    statuses = [wait(process, members) for process in members]
    meeting.touch()
    return statuses


def wait(process, members, seconds: float = 200):
    """A worker's exit status; where one was killed, the others wait for it in vain and are killed as well."""
    until = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < until:
        process.join(0.1)
        if any(other.exitcode not in (None, 0) for other in members):
            process.join(3)
            process.kill()
    process.join()
    return process.exitcode


def member(rank: int, path: str, name: str, storage: str, world: int, meeting: str, log: str) -> None:
    """Like `in_ray_worker`, with gloo over a file."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(ROOT)
    from raykd.launch.job_spec import job_of
    from raykd.launch.run_state.client import Client
    from raykd.launch.worker.start import work
    from raykd.recipe.files.load import load
    from raykd.runs import directory

    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    loaded = load(path)
    run = Folder(storage) / name
    if rank == 0:
        directory.open_run(run, loaded.recipe, loaded.sources, [])
    torch.distributed.barrier()
    job = job_of(run, loaded.recipe, [], name=name, sources=loaded.sources, git="")
    work(job, rank, world, torch.device("cpu"), lambda metrics: None, Client())
    sys.stdout.flush()
    os._exit(0)

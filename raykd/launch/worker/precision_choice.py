"""The teachers' precision if `teachers.form` is auto: measured once before the first step, and stored with the run."""

import json
from collections.abc import Callable, Sequence
from typing import get_args

import torch

from raykd.contract import Distiller, Placement, global_sum
from raykd.data.loader import TrainLoader
from raykd.recipe import Recipe
from raykd.storage.folder import Folder
from raykd.teachers.frozen_teacher import FrozenTeacher, Launch, TeacherPrecision
from raykd.training.choose_precision import choose, describe, measure

FILE = "teachers-form.json"
BATCHES = 2
ALL = [TeacherPrecision(p, launch) for launch in get_args(Launch) for p in ("recipe", "bfloat16", "float16")]


def choose_precision(
    run: Folder,
    recipe: Recipe,
    distiller: Distiller,
    teachers: Sequence[FrozenTeacher],
    data: TrainLoader,
    placement: Placement,
    notify: Callable[[str], None],
) -> TeacherPrecision:
    """The run's teacher precision: a resumed run's own, else the best one measured now. A collective of all workers."""
    # 0: nothing chosen yet. The sum broadcasts what rank 0 has read.
    device, rank = placement.device, placement.rank
    number = 1 + ALL.index(_stored(run)) if rank == 0 and run.exists(FILE) else 0
    number = int(global_sum(torch.tensor([number], device=device)).item())
    if number:
        return ALL[number - 1]
    measured = measure(recipe, distiller, teachers, list(data.batches(0, BATCHES)), device, rank)
    chosen = choose(measured)
    if rank == 0:
        figures = [{**form._asdict(), **each._asdict()} for form, each in measured.items()]
        run.write(FILE, json.dumps({**chosen._asdict(), "measured": figures}, indent=1))
        notify(describe(chosen, measured))
    return chosen


def _stored(run: Folder) -> TeacherPrecision:
    stored = run.read_json(FILE)
    if "compiled" in stored:  # written by versions without captured passes
        return TeacherPrecision(stored["precision"], "compiled" if stored["compiled"] else "captured")
    return TeacherPrecision(stored["precision"], stored["launch"])

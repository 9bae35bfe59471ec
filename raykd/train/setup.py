"""One way to open an experiment."""

from collections.abc import Sequence

import torch

from raykd import UserError
from raykd.contract import Distiller
from raykd.models import create
from raykd.models.staged import Staged
from raykd.recipe import Recipe
from raykd.teachers.frozen_teacher import FrozenTeacher


def build_distiller(recipe: Recipe, teachers: Sequence[FrozenTeacher], classes: int, seed: int) -> Distiller:
    """A distiller with fresh students: a pure function of the recipe and the seed."""

    def new_student() -> Staged:
        return create(recipe.student.name, classes, image_size=recipe.data.image_size, weights=recipe.student.weights)

    for teacher in teachers:
        if teacher.network.num_classes != classes:
            raise UserError(
                f"teachers: {teacher.name} has {teacher.network.num_classes} classes, the data {classes}: "
                "train it on the same data set"
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return recipe.method.build(new_student, [teacher.network for teacher in teachers])

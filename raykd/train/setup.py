"""One way to open an experiment."""

from collections.abc import Sequence

import torch

from raykd.contract import Distiller
from raykd.models import create_network
from raykd.models.staged import Staged
from raykd.recipe import Recipe
from raykd.teachers.frozen_teacher import FrozenTeacher


def build_distiller(recipe: Recipe, teachers: Sequence[FrozenTeacher], classes: int, seed: int) -> Distiller:
    """A distiller with fresh students: a pure function of the recipe and the seed."""

    def new_student() -> Staged:
        return create_network(recipe.student, classes, recipe.data.image_size)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return recipe.method.build(new_student, [teacher.network for teacher in teachers])

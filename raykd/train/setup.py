"""One way to open an experiment."""

from collections.abc import Sequence

import torch

from raykd import UserError
from raykd.contract import Distiller
from raykd.data.loader import TrainLoader
from raykd.models import create_network
from raykd.models.staged import Staged
from raykd.recipe import Recipe
from raykd.teachers.frozen_teacher import FrozenTeacher


def expect_labels(recipe: Recipe, data: TrainLoader) -> None:
    """Raise UserError where the method reads labels that some of the training images don't have."""
    if data.unlabelled and data.labelled_share != 1 and recipe.method.reads_labels:
        name = type(recipe.method).__qualname__.split(".")[0]
        raise UserError(
            f"method: {name} reads labels, which {data.unlabelled:,} of {data.size:,} training images don't have: take "
            "a method that reads none (FunMatch, KD with gamma 0), or data.labelled_share 1"
        )


def build_distiller(recipe: Recipe, teachers: Sequence[FrozenTeacher], classes: int, seed: int) -> Distiller:
    """A distiller with fresh students: a pure function of the recipe and the seed."""

    def new_student() -> Staged:
        return create_network(recipe.student, classes, recipe.data.image_size)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return recipe.method.build(new_student, [teacher.network for teacher in teachers])

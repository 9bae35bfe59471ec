"""From a recipe to what trains: data prepared, frozen teachers loaded, the distiller built."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Distiller, Output
from raykd.data.config import Data
from raykd.models import create
from raykd.models.frozen import freeze
from raykd.models.renormalize import renormalize
from raykd.models.staged import Staged
from raykd.recipe import Pretrained, Recipe, Run, Teachers, Train
from raykd.recipe.serial import from_dict, refuse_foreign
from raykd.train.forms import Form, named, runner
from raykd.train.storage import Folder
from raykd.train.student import read_student

if TYPE_CHECKING:
    from raykd.train.kept import Kept


@dataclass(frozen=True)
class FrozenTeacher:
    name: str
    network: Staged  # in the form that costs least: see raykd.models.frozen
    path: str  # of its run, or its weights' name
    parameters: int  # of the network as it was trained
    kept: "Kept | None" = None  # its logits in files, where the recipe says so
    form: Form = Form()  # what its passes in training are computed in

    def output(self, images: Tensor, features: Sequence[str]) -> Output:
        """`network.output` in this teacher's form, which is made of the network as it lies at the first call."""
        return self._run(images, features)

    @cached_property
    def _run(self):
        return runner(self.network, self.form)


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


def load_teachers(teachers: Teachers, data: Data, classes: int, trained: Sequence[str]) -> list[FrozenTeacher]:
    """Frozen teachers in order; `trained` names the run directories of those that `Train` sources stand for."""
    found, runs = [], iter(trained)
    for source in teachers.sources:
        if isinstance(source, Run):
            found.append(_from_run(source.path, data))
        elif isinstance(source, Train):
            found += [_from_run(next(runs), data) for _ in source.seeds]
        elif isinstance(source, Pretrained):
            found.append(_pretrained(source, data, classes))
        else:
            raise UserError(f"teachers: {type(source).__name__} is not one of Run, Train, Pretrained")
    return [replace(_renamed(teacher, i, found), form=named(teachers)) for i, teacher in enumerate(found)]


def _renamed(teacher: FrozenTeacher, i: int, all_of_them: list[FrozenTeacher]) -> FrozenTeacher:
    """Names are unique: the second resnet32x4 is resnet32x4-1."""
    twin = sum(other.name == teacher.name for other in all_of_them[:i])
    return replace(teacher, name=f"{teacher.name}-{twin}") if twin else teacher


def _from_run(path: str, data: Data) -> FrozenTeacher:
    network, about = read_student(Folder(path))
    return _frozen(renormalize(network, data.mean, data.std, about.mean, about.std), path)


def _pretrained(source: Pretrained, data: Data, classes: int) -> FrozenTeacher:
    wanted = source.network
    network = create(wanted.name, classes, image_size=data.image_size, weights=wanted.weights)
    return _frozen(renormalize(network, data.mean, data.std, source.mean, source.std), wanted.weights)


def _frozen(network: Staged, path: str) -> FrozenTeacher:
    size = parameters(network)
    return FrozenTeacher(network.name, freeze(network), path, size)


def recipe_of(run: Folder, trusted: bool = False) -> Recipe:
    """The resolved recipe of a run directory; raises UserError where there is none.

    trusted: its classes may be imported from anywhere, which runs their modules' code.
    """
    try:
        plain = run.read_json("recipe.json")
    except FileNotFoundError:
        raise UserError(f"{run.place} is no run directory: it has no recipe.json") from None
    if not trusted:
        refuse_foreign(plain, f"{run.place}/recipe.json")
    return from_dict(plain)


def parameters(network: nn.Module) -> int:
    """Parameters of a network, shared ones once."""
    return sum(p.numel() for p in network.parameters())

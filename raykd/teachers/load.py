"""From a recipe to what trains: data prepared, frozen teachers loaded, the distiller built."""

from collections.abc import Sequence
from dataclasses import replace

from raykd import UserError
from raykd.data.config import Data
from raykd.models import create
from raykd.models.frozen import freeze
from raykd.models.renormalize import renormalize
from raykd.models.staged import Staged, parameters
from raykd.recipe import Pretrained, Run, Teachers, Train
from raykd.runs.student import read_student
from raykd.storage.folder import Folder
from raykd.teachers.frozen_teacher import FrozenTeacher, named


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

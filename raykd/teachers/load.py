"""Loads frozen teachers from runs, libraries and files, adapted to the data's classes, normalisation and size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from raykd import UserError
from raykd.data.config import Channels, Data
from raykd.models import create_network, published
from raykd.models.frozen.freeze import freeze
from raykd.models.frozen.renormalize import renormalize
from raykd.models.heads import select_classes
from raykd.models.staged import Staged, parameters
from raykd.models.weights.downloads import BACKBONE, local
from raykd.recipe import Pretrained, Run, Teachers, Train
from raykd.runs.student import about_if_any, read_student
from raykd.storage.folder import Folder
from raykd.teachers.classes import describe_match, expect_pairs, positions_of
from raykd.teachers.frozen_teacher import FrozenTeacher, recipe_precision


@dataclass(frozen=True)
class Origin:
    """A teacher as it was trained: its network, and its training images and classes."""

    network: Staged
    path: str  # name of its run or weights
    mean: Channels
    std: Channels
    namings: tuple[tuple[str, ...], ...]  # its classes in order, in each of their naming schemes; () if unknown
    has_classes: bool = True  # False: its last layer is missing or random, only its features can be read


def load_teachers(
    teachers: Teachers, data: Data, classes: Sequence[str], trained: Sequence[str], compares_classes: bool = True
) -> list[FrozenTeacher]:
    """The frozen teachers in order; their logits are of the data's classes [B, C].

    classes: the data's, by name. trained: the run directories of those that `Train` sources stand for.
    compares_classes: False for methods that read features alone; a teacher of other classes then keeps its own, and
    its `knows_classes` is False. Raises UserError for a teacher without trained weights or without the data's classes.
    """
    renamed = expect_pairs(teachers.classes, classes)
    origins, runs = [], iter(trained)
    for source in teachers.sources:
        if isinstance(source, Run):
            origins.append(_from_run(source.path))
        elif isinstance(source, Train):
            origins += [_from_run(next(runs)) for _ in source.seeds]
        elif isinstance(source, Pretrained):
            origins.append(_pretrained(source, data, classes))
        else:
            raise UserError(f"teachers: {type(source).__name__} must be one of Run, Train, Pretrained")
    frozen = [_frozen(origin, data, classes, renamed, compares_classes) for origin in origins]
    return [
        replace(_renamed(teacher, i, frozen), precision=recipe_precision(teachers)) for i, teacher in enumerate(frozen)
    ]


def _renamed(teacher: FrozenTeacher, i: int, teachers: list[FrozenTeacher]) -> FrozenTeacher:
    """The teacher with a unique name: the second resnet32x4 is resnet32x4-1."""
    twin = sum(other.name == teacher.name for other in teachers[:i])
    return replace(teacher, name=f"{teacher.name}-{twin}") if twin else teacher


def _from_run(path: str) -> Origin:
    network, about = read_student(Folder(path))
    return Origin(network, path, about.mean, about.std, (about.classes,))


def _pretrained(source: Pretrained, data: Data, classes: Sequence[str]) -> Origin:
    config = source.network
    if config.weights == "":
        raise UserError(f"teachers: {config.name} would have random weights: set its `weights`")
    if config.int8:
        raise UserError(
            f"teachers: `int8` of {config.name} is only for training, and teachers are not trained: remove it"
        )
    return _of_library(source, data) if config.weights == "pretrained" else _of_file(source, data, classes)


def _of_library(source: Pretrained, data: Data) -> Origin:
    config = local(source.network, data.root, data.download)
    about = published(source.network.name)
    if source.classes and len(source.classes) != about.num_classes:
        raise UserError(
            f"teachers: {source.network.name} has {about.num_classes} outputs, but `classes` has {len(source.classes)} "
            "names: name each output"
        )
    network = create_network(config, about.num_classes, source.image_size or about.image_size)
    namings = (source.classes,) if source.classes else about.namings
    mean, std = source.mean or about.mean, source.std or about.std
    return Origin(network, "pretrained", mean, std, namings, has_classes=network.num_classes > 0)


def _of_file(source: Pretrained, data: Data, classes: Sequence[str]) -> Origin:
    config = local(source.network, data.root, data.download)
    about = about_if_any(Path(config.weights.removesuffix(BACKBONE)).expanduser())
    mean = source.mean or (about.mean if about else None)
    std = source.std or (about.std if about else None)
    if mean is None or std is None:
        raise UserError(
            f"teachers: {config.weights} doesn't contain the normalisation that it was trained with: set `mean` and "
            "`std`, and `image_size` if it differs from the data's"
        )
    has_classes = not config.weights.endswith(BACKBONE)
    names = (source.classes or (about.classes if about else ())) if has_classes else ()
    size = source.image_size or (about.image_size if about else data.image_size)
    network = create_network(config, len(names) or len(classes), size)
    return Origin(network, config.weights, mean, std, (names,) if names else (), has_classes)


def _frozen(
    origin: Origin, data: Data, classes: Sequence[str], renamed: dict[str, tuple[str, ...]], compares_classes: bool
) -> FrozenTeacher:
    network, size = origin.network, parameters(origin.network)
    remarks = [f"from {origin.path} it uses {network.weights_taken}"] if network.weights_taken else []
    knows = origin.has_classes
    try:
        remark = _match(origin, classes, renamed)
        remarks += [remark] if remark else []
    except UserError:
        if compares_classes:
            raise
        knows = False
    network = renormalize(network, *data.statistics, origin.mean, origin.std, data.image_size)
    if network.image_size != origin.network.image_size:
        own = origin.network.image_size
        remarks.append(f"its input images are resized from {data.image_size} to {own} pixels")
    return FrozenTeacher(network.name, freeze(network), origin.path, size, knows_classes=knows, remarks=tuple(remarks))


def _match(origin: Origin, classes: Sequence[str], renamed: dict[str, tuple[str, ...]]) -> str:
    """Reorder the network's classes as in the data; returns remarks. Raises UserError if they don't match."""
    network = origin.network
    count = network.num_classes
    if not origin.has_classes:
        why = f"a random last layer ({origin.path})" if count else "no last layer"
        raise UserError(f"teachers: {network.name} has {why}: use trained weights, or a method that matches features")
    if origin.namings:
        positions = positions_of(network.name, origin.namings, classes, renamed)
        if positions != tuple((row,) for row in range(count)):
            select_classes(network, positions)
        return describe_match(positions, count)
    if count != len(classes):
        raise UserError(f"teachers: {network.name} has {count} outputs without names: name them in `classes`")
    return f"{origin.path} contains no class names: it is assumed to have the data's (otherwise set `classes`)"

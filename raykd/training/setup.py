"""Opens an experiment: the data, teachers, distiller and state of one worker, from its recipe."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import torch

from raykd import UserError
from raykd.contract import Distiller, Placement
from raykd.data.loader import TestLoader, TrainLoader
from raykd.data.storage.prepare import Prepared, normalised, prepare
from raykd.data.storage.staging import stage
from raykd.data.subsets import training_labels
from raykd.method import labels_missing
from raykd.models import create_network
from raykd.models.staged import Staged
from raykd.models.weights.downloads import local
from raykd.recipe import Recipe
from raykd.recipe.length import total_steps
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.teachers.load import load_teachers
from raykd.teachers.precision import Context, autocast
from raykd.training.process import use_cpus, use_device
from raykd.training.update.state import State, new_state


def single(recipe: Recipe) -> Placement:
    """The placement of a single process that runs the recipe without other workers."""
    device = torch.device("cuda", 0) if recipe.gpus_per_worker else torch.device("cpu")
    return Placement(device, max(1, recipe.cpus_per_worker), gpu_share=recipe.gpus_per_worker)


def open_alone(
    recipe: Recipe, trained: Sequence[str] = (), notify: Callable[[str], None] = lambda line: None
) -> "Experiment":
    """The experiment of a process without other workers, with as many threads as a worker's CPUs; see `Experiment`."""
    use_cpus(recipe.cpus_per_worker)
    return Experiment(recipe, single(recipe), trained, notify)


class Experiment:
    """A recipe opened on one worker. Each part is created on first access, so nothing unused is opened.

    Set `teachers` before reading `distiller` to use others than the recipe's own.
    """

    def __init__(
        self,
        recipe: Recipe,
        placement: Placement,
        trained: Sequence[str] = (),
        notify: Callable[[str], None] = lambda line: None,
        progress: Callable[[str, int, int], None] = lambda split, total, size: None,
    ):
        """trained: run directories of the recipe's `Train` teachers.

        notify: called when files are copied. progress: called while the data set is written, see `prepare`.
        """
        self.recipe, self.placement, self._trained = recipe, placement, trained
        self._notify, self._progress = notify, progress
        use_device(placement.device, recipe.precision, placement.gpu_share)

    @cached_property
    def prepared(self) -> Prepared:
        """The data set's files, copied or written to this machine if they are missing.

        Afterwards `recipe` has the measured mean and deviation, if it left them open.
        """
        stage(self.recipe.data, self._notify)
        prepared = prepare(self.recipe.data, progress=self._progress)
        self.recipe = replace(self.recipe, data=normalised(self.recipe.data, prepared))
        return prepared

    @cached_property
    def train_data(self) -> TrainLoader:
        prepared, recipe = self.prepared, self.recipe  # in this order: see `prepared`
        channels_last = recipe.precision.channels_last
        data = TrainLoader(
            recipe.data,
            prepared,
            self.placement,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            channels_last=channels_last,
        )
        expect_labels(self.recipe, data)
        return data

    @cached_property
    def test_data(self) -> TestLoader:
        prepared, recipe = self.prepared, self.recipe
        channels_last = recipe.precision.channels_last
        return TestLoader(
            recipe.data, prepared, self.placement, batch_size=recipe.batch_size, channels_last=channels_last
        )

    @cached_property
    def teachers(self) -> list[FrozenTeacher]:
        """The frozen teachers in the recipe's order, on the device."""
        classes, data = self.prepared.classes, self.recipe.data
        compares = self.recipe.method.compares_classes
        teachers = load_teachers(self.recipe.teachers, data, classes, self._trained, compares)
        for teacher in teachers:
            teacher.network.to(self.placement.device)
        return teachers

    @cached_property
    def distiller(self) -> Distiller:
        """Fresh students and everything else that trains."""
        distiller = build_distiller(self.recipe, self.teachers, len(self.prepared.classes), self.recipe.seed)
        distiller.set_training_labels(training_labels(self.recipe.data, self.prepared))
        return distiller

    @property
    def student_weights(self) -> str:
        """Which part of its weights file the student has loaded, if not all of it."""
        network = next(iter(self.distiller.networks().values()))
        return network.weights_taken if isinstance(network, Staged) else ""

    @cached_property
    def autocast(self) -> Context:
        return autocast(self.recipe, self.placement.device)

    @property
    def steps(self) -> int:
        """The number of updates of the whole run."""
        return total_steps(self.recipe, self.train_data.size)

    def new_state(self) -> State:
        """The state before the first step, on the device."""
        return new_state(self.recipe, self.distiller, self.placement.device)


def expect_labels(recipe: Recipe, data: TrainLoader) -> None:
    """Raise UserError if the method requires labels that some training images lack."""
    if data.unlabelled and data.labelled_share != 1 and recipe.method.reads_labels:
        name = type(recipe.method).__qualname__.split(".")[0]
        which = f"{data.unlabelled:,} of {data.size:,} training images"
        raise UserError(f"method: {name} {labels_missing(which)}")


def build_distiller(recipe: Recipe, teachers: Sequence[FrozenTeacher], classes: int, seed: int) -> Distiller:
    """A distiller with fresh students: a pure function of the recipe and the seed.

    Raises UserError if the student has nothing to train.
    """

    data = recipe.data

    def new_student() -> Staged:
        return create_network(local(recipe.student, data.root, data.download), classes, data.image_size)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = recipe.method.with_batch_size(recipe.batch_size)
        distiller = method.build(new_student, [teacher.network for teacher in teachers])
    deployed = next(iter(distiller.networks().values()))
    if not any(parameter.requires_grad for parameter in deployed.parameters()):
        raise UserError(f"student.name: {recipe.student.name} has only frozen parameters, so nothing would be trained")
    return distiller

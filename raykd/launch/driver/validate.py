"""Validates a recipe before anything is written: values and combinations that no run can have."""

from pathlib import PurePosixPath

import torch

from raykd import UserError
from raykd.data.config import Mixing
from raykd.launch.cluster.capacity import workers_of
from raykd.launch.run_state.failure import ONE_IMAGE, ONE_VALUE
from raykd.method import MethodConfig, labels_missing
from raykd.models import create
from raykd.recipe import SGD, Initialise, Recipe
from raykd.recipe.validate import validate

LONGEST = 120  # characters of a run's name; W&B takes 128


def check(recipe: Recipe) -> None:
    """Raise UserError for values, or combinations of values, that no run can have."""
    validate(recipe)
    _workers(recipe)
    _method(recipe)
    _teacher_precision(recipe)
    _placement(recipe)
    if recipe.patience and not recipe.data.validation:
        raise UserError(
            "patience: early stopping on the test split is refused; hold out a part of the training split with "
            "--data.validation 0.1"
        )
    sgd = recipe.optimizer
    if isinstance(sgd, SGD) and sgd.nesterov and sgd.momentum == 0:
        raise UserError(
            "optimizer.momentum: Nesterov requires momentum above 0; increase it, or set --optimizer.no-nesterov"
        )
    _parts(recipe)


def _workers(recipe: Recipe) -> None:
    least, most = workers_of(recipe)
    share = recipe.batch_size // max(1, most)  # of the worker with the fewest images: all compute equally many parts
    if least > most or (least == 0 and most > 0):
        raise UserError(f"workers: {recipe.workers} must be N or (min, max) with min ≤ max")
    if recipe.batch_size < max(1, most):
        raise UserError(
            f"batch_size: {recipe.batch_size} is less than one image for each of {most} worker(s); increase it, or "
            "lower workers"
        )
    if recipe.sync_batchnorm and not recipe.gpus_per_worker:
        raise UserError(
            "sync_batchnorm: torch supports it on GPUs only; set --gpus-per-worker 1, or --no-sync-batchnorm"
        )
    if most > 1 and 0 < recipe.gpus_per_worker < 1:
        raise UserError(
            f"gpus_per_worker: {recipe.gpus_per_worker:g} requires one worker, as several workers on one GPU can't "
            "exchange gradients by NCCL: use --gpus-per-worker 1, or --workers 1"
        )
    if recipe.accumulate > share:
        raise UserError(
            f"accumulate: {recipe.accumulate} must be at most {share}, the number of images per worker and step"
        )


def _parts(recipe: Recipe) -> None:
    """If a worker computes single images: check that the student's batch norms can be trained on them."""
    _, most = workers_of(recipe)
    if recipe.batch_size >= 2 * max(1, most) * recipe.accumulate or recipe.sync_batchnorm:
        return
    student, size = recipe.student, recipe.data.image_size
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            network = create(student.name, 2, size, options=student.options, stages=student.stages)
            network.train()(torch.zeros(1, 3, size, size))
    except UserError:  # errors of the network itself are reported where it is created
        return
    except ValueError as error:
        if ONE_VALUE in str(error):
            raise UserError(ONE_IMAGE) from None
        raise


def _method(recipe: Recipe) -> None:
    name = type(recipe.method).__qualname__.split(".")[0]
    if type(recipe.method).build is MethodConfig.build:
        raise UserError(f"method: {name} is a base class; use the Config of one of `raykd list methods`")
    if recipe.method.hard_labels and type(recipe.data.mixing) is not Mixing:
        raise UserError(
            f"data.mixing: {name} requires hard labels, but mixup and CutMix produce soft labels; remove it"
        )
    data = recipe.data
    if data.source.unlabelled_images and data.labelled_share != 1 and recipe.method.reads_labels:
        raise UserError(f"method: {name} {labels_missing('some training images')}")
    if recipe.method.initialises != (recipe.initialise.epochs > 0):
        needs = "needs such a phase, e.g. --initialise.epochs 30" if recipe.method.initialises else "has no such phase"
        raise UserError(f"initialise.epochs: {recipe.initialise.epochs:g}, but {name} {needs}")
    if not recipe.initialise.epochs and recipe.initialise != Initialise():
        raise UserError(
            "initialise.epochs: 0 leaves initialise.optimizer and schedule unused; set epochs, or remove them"
        )
    if not recipe.method.uses_teachers and recipe.teachers.sources:
        raise UserError(f"teachers: {name} doesn't use teachers; remove them")


def _placement(recipe: Recipe) -> None:
    """Check what remote teachers can't be combined with."""
    if recipe.teachers.placement == "inline":
        return
    if recipe.workers == 0:
        raise UserError(
            "teachers.placement: remote teachers are Ray actors, which require workers 1 or more; use inline"
        )
    if recipe.teachers.cache != "none":
        raise UserError(
            "teachers.placement: with a cache, remote teachers would be idle; use --teachers.placement inline or "
            "--teachers.cache none (raykd data teach fills a cache before training)"
        )


def _teacher_precision(recipe: Recipe) -> None:
    """Check what the teachers' precision (`teachers.form`) and cache can't be combined with."""
    teachers = recipe.teachers
    if teachers.form == "auto":
        for field, plain in (("cache", "none"), ("placement", "inline")):
            if getattr(teachers, field) != plain:
                raise UserError(
                    f"teachers.form: auto can't be combined with teachers.{field} {getattr(teachers, field)}: "
                    "choose one, e.g. bfloat16"
                )
    if teachers.form == "float16" and not (recipe.gpus_per_worker or teachers.gpus_per_actor):
        raise UserError("teachers.form: float16 is for GPUs; on CPUs use bfloat16")
    if (teachers.cache == "top-k") != (teachers.top_k > 0):
        raise UserError(
            "teachers.top_k: the cache top-k requires it, and other caches don't allow it, e.g. --teachers.cache top-k "
            "--teachers.top-k 20"
        )


def check_name(name: str) -> None:
    """Raise UserError if a run of that name would not be inside the storage."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise UserError(f"name: {name!r} must be a path below the storage, such as digits/kd")
    if len(name) > LONGEST or not name.isprintable():
        raise UserError(f"name: {name[:40]!r}… must have at most {LONGEST} characters, all printable")

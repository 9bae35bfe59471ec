"""Values of a recipe that no run can have, told before anything is written."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from raykd import UserError
from raykd.data.config import Mixing
from raykd.launch.cluster import connection
from raykd.method import MethodConfig
from raykd.recipe import SGD, Recipe

INFINITY = float("inf")


def check(recipe: Recipe) -> None:
    """Raise UserError for values that no run can have."""
    _workers(recipe)
    for field, value, least, most in [*_amounts(recipe), *_shares(recipe)]:
        if not least <= value <= most or abs(value) == INFINITY:
            bound = f"at least {least:g}" if most == INFINITY else f"from {least:g} to {most:g}"
            raise UserError(f"{field}: {value} must be {bound}")
    for field, value in _positive(recipe):
        if not 0 < value < INFINITY:
            raise UserError(f"{field}: {value} must be above 0")
    interval(recipe.checkpoint.every)
    connection.labels_of(recipe)
    _method(recipe)
    _form(recipe)
    _placement(recipe)
    sgd = recipe.optimizer
    if isinstance(sgd, SGD) and sgd.nesterov and sgd.momentum == 0:
        raise UserError("optimizer.momentum: 0 leaves nothing for nesterov; set --optimizer.no-nesterov")


def _workers(recipe: Recipe) -> None:
    least, most = connection.workers_of(recipe)
    if least > most or least < 0 or (least == 0 and most > 0):
        raise UserError(f"workers: {recipe.workers} is no number of workers and no (least, most)")
    if recipe.batch_size < max(1, most):
        raise UserError(f"batch_size: {recipe.batch_size} is less than one image for each of {most} worker(s)")
    if recipe.gpus_per_worker > 1:
        raise UserError("gpus_per_worker: a worker uses one GPU at most; raise --workers instead")


def _positive(recipe: Recipe) -> Iterator[tuple[str, float]]:
    for name in ("epochs", "evaluate_every", "log_every", "accumulate", "cpus_per_worker", "collective_timeout"):
        yield name, getattr(recipe, name)
    yield "checkpoint.keep", recipe.checkpoint.keep
    yield "optimizer.learning_rate", recipe.optimizer.learning_rate
    yield "data.image_size", recipe.data.image_size
    for value in recipe.data.std:
        yield "data.std", value


def _amounts(recipe: Recipe) -> Iterator[tuple[str, float, float, float]]:
    yield "gpus_per_worker", recipe.gpus_per_worker, 0, 1
    yield "max_failures", recipe.max_failures, -1, INFINITY
    yield "teachers.max_parallel", recipe.teachers.max_parallel, 0, INFINITY
    yield "teachers.top_k", recipe.teachers.top_k, 0, 65_536
    yield "teachers.gpus_per_actor", recipe.teachers.gpus_per_actor, 0, 1
    for name in ("actors", "cpus_per_actor", "ahead"):
        yield f"teachers.{name}", getattr(recipe.teachers, name), 1, INFINITY
    yield "optimizer.weight_decay", recipe.optimizer.weight_decay, 0, INFINITY
    yield "optimizer.clip_norm", recipe.optimizer.clip_norm, 0, INFINITY
    yield "schedule.warmup_steps", recipe.schedule.warmup_steps, 0, INFINITY
    yield "data.encoding.quality", recipe.data.encoding.quality, 1, 100


def _shares(recipe: Recipe) -> Iterator[tuple[str, float, float, float]]:
    """Values below 1."""
    below = 1 - 2**-53
    yield "ema", recipe.ema, 0, below
    yield "data.validation", recipe.data.validation, 0, below
    for name in ("momentum", "betas"):
        values: Any = getattr(recipe.optimizer, name, ())
        for value in values if isinstance(values, tuple) else (values,):
            yield f"optimizer.{name}", value, 0, below


def _method(recipe: Recipe) -> None:
    name = type(recipe.method).__qualname__.split(".")[0]
    if type(recipe.method).build is MethodConfig.build:
        raise UserError(f"method: {name} builds nothing; take the Config of one of `raykd list methods`")
    if recipe.method.hard_labels and type(recipe.data.mixing) is not Mixing:
        raise UserError(f"data.mixing: {name} needs whole labels, and mixing makes shares of them; remove it")
    if not recipe.method.uses_teachers and recipe.teachers.sources:
        raise UserError(f"teachers: {name} has no use for teachers; remove them")


def _placement(recipe: Recipe) -> None:
    """What remote teachers can't be combined with."""
    if recipe.teachers.placement == "inline":
        return
    if recipe.workers == 0:
        raise UserError("teachers.placement: remote teachers are Ray actors, which need workers 1 or more; use inline")
    if recipe.teachers.cache != "none":
        raise UserError(
            "teachers.placement: kept logits are read by the worker itself, remote teachers would have nothing to do; "
            "use inline, or teachers.cache none"
        )


def _form(recipe: Recipe) -> None:
    """What the teachers' form and their kept logits can't be combined with."""
    teachers = recipe.teachers
    if teachers.form == "auto":
        for field, plain in (("cache", "none"), ("placement", "inline")):
            if getattr(teachers, field) != plain:
                raise UserError(
                    f"teachers.form: auto is chosen by a worker for itself alone, and teachers.{field} "
                    f"{getattr(teachers, field)} needs one that others know too: name it, e.g. bfloat16"
                )
    if teachers.form == "float16" and not (recipe.gpus_per_worker or teachers.gpus_per_actor):
        raise UserError("teachers.form: float16 is for GPUs; on CPUs use bfloat16")
    if (teachers.cache == "top-k") != (teachers.top_k > 0):
        raise UserError(
            "teachers.top_k: a cache of top-k must know how many logits to keep, e.g. --teachers.cache top-k "
            "--teachers.top-k 20; for any other cache it is 0"
        )


def interval(text: str) -> tuple[int, float]:
    """Steps and seconds of a checkpoint.every such as "500 steps" or "10 minutes"; 0 where it is not counted so."""
    number, _, unit = text.partition(" ")
    if text == "never":
        return 0, 0.0
    if unit in ("step", "steps") and number.isascii() and number.isdigit() and int(number) > 0:
        return int(number), 0.0
    decimal = number.replace(".", "", 1)
    if unit in ("minute", "minutes") and decimal.isascii() and decimal.isdigit() and float(number) > 0:
        return 0, 60.0 * float(number)
    raise UserError(f'checkpoint.every: {text!r} is not like "500 steps", "10 minutes" or "never"')


def check_name(name: str) -> None:
    """Raise UserError where a run of that name would not lie below the storage."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise UserError(f"name: {name!r} must be a path below the storage, such as digits/kd")

"""Teachers of a recipe: found by what determines them, or trained first, side by side, each as a run of its own."""

import json
from contextlib import ExitStack
from typing import Any

from rich.text import Text

from raykd import UserError
from raykd.launch.cluster import connection
from raykd.launch.cluster.failure import RunFailed
from raykd.launch.driver import run as job
from raykd.launch.driver.display import Display
from raykd.launch.job_spec import JobSpec, job_of
from raykd.launch.teachers.names import run_in, wanted
from raykd.output import masked
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.load import Loaded
from raykd.runs import directory
from raykd.storage.folder import Folder


def ensure(loaded: Loaded, recipe: Recipe, storage: str, display: Display) -> list[str]:
    """Run directories of the recipe's teachers; those that are missing are trained, half-trained ones go on.

    Several are trained side by side where there is room for two at least. Raises RunFailed naming those that failed;
    the others are kept.
    """
    teachers = wanted(recipe)
    names = [run_in(storage, teacher) for teacher in teachers]
    missing = {}
    for name, teacher in zip(names, teachers, strict=True):
        result = directory.result_of(Folder(storage) / name)
        if result is None or result["status"] != "finished":
            missing[name] = teacher
        elif name not in missing:
            directory.refuse_other(Folder(storage) / name, teacher)
            top1 = f"{100 * result['top1']:.2f} %"
            display.console.print(f"teacher {name}: found, top-1 {top1}")
    for teacher in missing.values():
        job.check(teacher)
        if wanted(teacher):
            raise UserError("teachers: a teacher's own recipe has teachers to train; train it first and name its run")
    if missing:
        _train(loaded, recipe, missing, storage, display)
    return [(Folder(storage) / name).place for name in names]


def _train(loaded: Loaded, recipe: Recipe, missing: dict[str, Recipe], storage: str, display: Display) -> None:
    if (
        len(missing) > 1
        and recipe.teachers.max_parallel != 1
        and all(teacher.workers != 0 and teacher.teachers.placement == "inline" for teacher in missing.values())
    ):
        with connection.connected():
            for teacher in missing.values():
                connection.check_room(teacher)
            together = room(list(missing.values()), recipe.teachers.max_parallel)
            if together > 1:
                _side_by_side(loaded, missing, together, storage, display)
                return
    for name, teacher in missing.items():
        job.train(loaded, teacher, name, storage, [], display)


def room(teachers: list[Recipe], at_most: int) -> int:
    """How many of some teachers there is room for at once: of the largest, if they differ; at_most 0: no limit."""
    from raykd.launch.trials.tuner import at_once, settled

    found = min(at_once(settled(teacher)) for teacher in teachers)
    return min(found, at_most or found, len(teachers))


def _side_by_side(loaded: Loaded, missing: dict[str, Recipe], together: int, storage: str, display: Display) -> None:
    """Train teachers as Tune trials, those that need the same resources together."""
    from raykd.launch.trials.tuner import settled

    group = f"{loaded.path.parent.name}/{loaded.path.stem} teachers"
    kinds: dict[str, list[str]] = {}
    for name, teacher in missing.items():
        fixed = settled(teacher)
        kinds.setdefault(f"{fixed.workers} × {connection.needs(fixed)}", []).append(name)
    errors: dict[str, str] = {}
    for names in kinds.values():
        recipes = {name: settled(missing[name]) for name in names}
        errors |= _trials(loaded, recipes, min(together, len(names)), storage, display, group)
    failed = {name: errors.get(name, "it did not finish") for name in missing if not _finished(storage, name)}
    if failed:
        told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        kept = len(missing) - len(failed)
        raise RunFailed(f"{len(failed)} of {len(missing)} teachers failed ({told}); {kept} trained ones are kept")


def _finished(storage: str, name: str) -> bool:
    return directory.result_of(Folder(storage) / name) is not None


def _trials(
    loaded: Loaded, recipes: dict[str, Recipe], together: int, storage: str, display: Display, group: str
) -> dict[str, str]:
    """Train teachers of equal resources; returns what went wrong, by name."""
    from ray import tune

    from raykd.data.staging import publish
    from raykd.launch.cluster import placement_groups
    from raykd.launch.jobs import wandb_key
    from raykd.launch.teachers.progress import TeacherProgress
    from raykd.launch.trials.tuner import Trials, run

    key = wandb_key.held_for(next(iter(recipes.values())))
    jobs = {
        name: job_of(loaded, teacher, Folder(storage) / name, name, [], role="teacher", group=group)
        for name, teacher in recipes.items()
    }
    display.console.print(Text.assemble((f"{len(jobs)} teachers", "bold"), f", {together} at once: {', '.join(jobs)}"))
    placement_groups.reap()
    watch = TeacherProgress({name: Folder(job.run) for name, job in jobs.items()}, display.console)

    def trainable(config: dict[str, Any]) -> None:
        train_teacher(jobs[config["id"]], key)

    with ExitStack() as stack:
        for name, teacher in recipes.items():
            publish(teacher.data, display.say)
            stack.enter_context(job.only_one(Folder(storage) / name, display.console.print))
            directory.open_run(Folder(storage) / name, loaded, teacher, [])
        stack.enter_context(watch.shown())
        run(
            Trials(
                trainable=trainable,
                recipe=next(iter(recipes.values())),
                space={"id": tune.grid_search(list(jobs))},
                options={"max_concurrent_trials": together},
                callback=watch,
                scratch=Folder(storage) / f"teachers/.{fingerprint(next(iter(recipes.values())))}",
            )
        )
    return watch.errors


def train_teacher(job: JobSpec, key: Any) -> None:
    """One teacher in a trial's process. What the user must mend is left with its reason; Tune tries all else again."""
    run = Folder(job.run)
    run.delete("outcome.json")
    try:
        from ray import tune

        from raykd.launch.trials.trial import train

        train(job, key, lambda metrics: tune.report({key: metrics[key] for key in ("epoch", "step", "top1")}))
    except UserError as error:
        run.write("outcome.json", json.dumps({"state": "failed", "reason": masked(str(error))}))

"""One trial of a search, in its own process: trains the recipe of its pick, and records the reason of a failure."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from raykd.launch.job_spec import JobSpec, job_of, unpack
from raykd.launch.search.space import Space
from raykd.launch.teachers.plan import run_in, teacher_recipes
from raykd.launch.trials.trial import as_reported, at_end, recording_failure, report_last, train
from raykd.recipe import Recipe
from raykd.recipe.changes import change
from raykd.recipe.serial import from_dict
from raykd.runs import directory
from raykd.runs.checkpoints.stamps import FOLDER, stamps
from raykd.storage.atomic import temporary_folder
from raykd.storage.folder import Folder
from raykd.training.update.nonfinite import NotFiniteError


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """The parts of a search that a trial's process receives."""

    base: dict[str, Any]  # the recipe that all trials start from, as plain data
    sources: dict[str, str]
    space: bytes  # pickled, as it may hold classes of the user's modules
    folder: str  # the search's directory
    name: str
    storage: str
    key: Any  # the holder of W&B's key
    metric: str
    git: str
    repeats: int  # consecutive trials of the same pick with different seeds
    swaps: bool  # whether the scheduler pauses trials or continues them from another trial's checkpoint


def trial_of_search(pick: dict[str, Any], spec: TrialSpec) -> None:
    """One trial: trains the recipe of its pick in STORAGE/NAME/trials/ID, and records the reason of a failure there."""
    unpack(spec.sources)
    name = tune.get_context().get_trial_name()
    run = Folder(spec.folder) / f"trials/{name}"
    run.create()
    picked = {field: value for field, value in pick.items() if field != "id"}
    if spec.swaps:
        _take_over(run, name, picked)
    run.write("trial.json", json.dumps(picked))
    with recording_failure(run):
        job = _job(run, name, picked, spec)
        recipe = from_dict(job.recipe)
        report = reporter(run, name, spec, recipe)
        train(job, recipe, spec.key, lambda metrics: None if at_end(metrics, recipe.epochs) else report(metrics))
        report_last(run, report)


def _job(run: Folder, name: str, picked: dict[str, Any], spec: TrialSpec) -> JobSpec:
    space: Space = ray.cloudpickle.loads(spec.space)
    recipe = change(from_dict(spec.base), space.overrides(picked))
    recipe = replace(recipe, seed=recipe.seed + int(name) % spec.repeats)
    trained = [(Folder(spec.storage) / run_in(spec.storage, teacher)).location for teacher in teacher_recipes(recipe)]
    directory.open_run(run, recipe, spec.sources, trained)
    return job_of(
        run,
        recipe,
        trained,
        name=f"{spec.name}/trials/{name}",
        sources=spec.sources,
        git=spec.git,
        role="trial",
        group=spec.name,
        overrides=space.values(picked),
    )


def reporter(run: Folder, name: str, spec: TrialSpec, recipe: Recipe) -> Callable[[dict[str, Any]], None]:
    """A function that reports an evaluation to Tune, with the checkpoint if the scheduler swaps trials."""

    def report(metrics: dict[str, Any]) -> None:
        plain = as_reported(metrics, recipe.evaluate_every, recipe.epochs)
        if not math.isfinite(plain[spec.metric]):
            raise NotFiniteError(f"epoch {plain['epoch']:g}: {spec.metric} is {plain[spec.metric]}")
        if not spec.swaps:
            tune.report(plain)
            return
        with temporary_folder() as folder:
            _copy_out(run, metrics["step"], name, Path(folder))
            tune.report(plain, checkpoint=tune.Checkpoint.from_directory(folder))

    return report


def _copy_out(run: Folder, step: int, name: str, folder: Path, seconds: float = 120.0) -> None:
    """Copy the checkpoint of a step for Tune. Another thread writes it, so it may take a moment to appear."""
    until = time.monotonic() + seconds
    while all(stamp.step != step for stamp in stamps(run)):
        if time.monotonic() > until:
            raise RuntimeError(f"the checkpoint of step {step} was not written within {seconds:.0f} s")
        time.sleep(0.02)
    for file in ("state.pt", "stamp.json"):
        (folder / file).write_bytes(run.read(f"{FOLDER}/step-{step:09d}/{file}"))
    (folder / "origin.json").write_text(json.dumps({"trial": name, "step": step}))


def _take_over(run: Folder, name: str, picked: dict[str, Any]) -> None:
    """Continue from another trial's checkpoint with changed values, if Population Based Training requests it."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return
    with checkpoint.as_directory() as folder:
        origin = json.loads((Path(folder) / "origin.json").read_text(encoding="utf-8"))
        if origin["trial"] == name:
            return
        files = {file: (Path(folder) / file).read_bytes() for file in ("state.pt", "stamp.json")}
    run.delete(FOLDER)
    for file, content in files.items():
        run.write(f"{FOLDER}/step-{origin['step']:09d}/{file}", content)
    run.delete("recipe.json")  # the values have changed, and the new recipe takes its place
    run.append("swaps.jsonl", json.dumps({"from": origin["trial"], "step": origin["step"], "values": picked}))

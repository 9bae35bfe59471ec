"""What runs in a Ray Tune trial's own process: one run, alone in it, or the driver of a run with several workers."""

import atexit
import json
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune

from raykd import UserError
from raykd.launch.cluster import connection
from raykd.launch.cluster.failure import cause_of
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.load import Loaded, materialize, override
from raykd.recipe.serial import from_dict, to_dict
from raykd.runs import directory
from raykd.runs.checkpoint import FOLDER, stamps
from raykd.storage.atomic import scratch, temporary_folder
from raykd.storage.folder import Folder
from raykd.train.nonfinite import NotFiniteError


def train(job: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> None:
    """Train a job to its end: here where it has one worker, else by a TorchTrainer of its own.

    report: told the metrics of every evaluation; only with one worker, as several report through Train.
    """
    unpack(job["sources"])
    recipe = from_dict(job["recipe"])
    if recipe.workers == 1:
        _here(job, recipe, report)
    else:
        _by_workers(job, recipe)


def _here(job: dict[str, Any], recipe: Recipe, report: Callable[[dict[str, Any]], None]) -> None:
    import torch

    from raykd.launch.worker.worker import take_key, work

    take_key(ray.get(job["board"].key.remote()))
    device = torch.device("cuda", 0) if recipe.gpus_per_worker else torch.device("cpu")
    work(job | {"sources": {}}, 0, 1, device, report, None)


def unpack(sources: dict[str, str]) -> None:
    """Make a recipe's sources importable for as long as this process lives: the next trial may run in it as well."""
    if sources not in _unpacked:
        folder = scratch()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        materialize(sources, Path(folder))
        _unpacked.append(sources)


_unpacked: list[dict[str, str]] = []


def _by_workers(job: dict[str, Any], recipe: Recipe) -> None:
    """The inner run keeps no restarts for itself: what went wrong is judged once, by `lost`."""
    from raykd.launch.cluster.run_state import Board
    from raykd.launch.driver.torch_trainer import trainer

    board = Board.options(scheduling_strategy=connection.on_this_node()).remote()
    ray.get(board.keep_key.remote(ray.get(job["board"].key.remote())))
    with temporary_folder() as folder:
        inner = trainer(job | {"board": board}, recipe, folder, restarts=False)
        inner.run_config.callbacks.append(_heard_to_the_end(recipe))
        inner.fit()


def _heard_to_the_end(recipe: Recipe) -> Any:
    """Ray's callback that tells Tune of each report, without the last one: see `tell_the_last`."""
    from ray.tune.integration.ray_train import TuneReportCallback

    every, epochs = recipe.evaluate_every, recipe.epochs

    class Heard(TuneReportCallback):
        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
            if not at_end(metrics[0], epochs):
                super().after_report(run_context, [told(metrics[0], every, epochs)], checkpoint)

    return Heard()


def at_end(metrics: dict[str, Any], epochs: float) -> bool:
    """Whether an evaluation is a run's last one; its epoch is within a step of the recipe's."""
    return metrics["epoch"] > epochs - metrics["epoch"] / metrics["step"]


def told(metrics: dict[str, Any], every: int, epochs: float) -> dict[str, Any]:
    """What Tune hears of an evaluation: the figures, evaluations so far, and the epoch that it stands for.

    Evaluations come after whole steps, so at epoch 2.998 or 1.002; a scheduler that waits for epoch 3 would miss the
    first. Tune itself counts the reports of a process, and a trial may go on in another one.
    """
    plain = {key: value for key, value in metrics.items() if isinstance(value, (int, float))}
    count = max(1, math.ceil((plain["epoch"] - plain["epoch"] / plain["step"]) / every + 1e-9))
    return plain | {"training_iteration": count, "epoch": min(float(count * every), epochs)}


def tell_the_last(run: Folder, tell: Callable[[dict[str, Any]], None]) -> None:
    """Tell Tune of a run's last evaluation once the run has left its result: a scheduler may end the trial at that."""
    line = directory.lines(run)[-1]
    tell({"epoch": line["epoch"], "step": line["step"], **next(iter(line["evaluation"].values()))})


def lost(error: BaseException) -> bool:
    """Whether a process or a node was lost, which another attempt can mend, rather than the run itself failing."""
    causes = [cause_of(cause) for cause in getattr(error, "worker_failures", {}).values()]
    return any(isinstance(cause, ray.exceptions.RayError) for cause in [error, *causes])


def why(error: BaseException) -> str:
    """The innermost cause in one line."""
    for cause in getattr(error, "worker_failures", {}).values():
        return why(cause_of(cause))
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def trial_of_search(pick: dict[str, Any], plan: dict[str, Any]) -> None:
    """One trial: a recipe from its pick, trained in STORAGE/NAME/trials/ID; a failure is left there with its reason.

    plan: base (plain recipe), sources, space (as bytes: it may hold classes of the user's own modules), place, name,
    storage, board, metric, git, swaps (whether a scheduler pauses trials or moves them on to another's checkpoint).
    """
    unpack(plan["sources"])
    name = tune.get_context().get_trial_name()
    run = Folder(plan["place"]) / f"trials/{name}"
    run.create()
    picked = {field: value for field, value in pick.items() if field != "id"}
    if plan["swaps"]:
        _take_over(run, name, picked)
    run.write("trial.json", json.dumps(picked))
    try:
        job = _job(run, name, picked, plan)
        tell = reporter(run, name, plan, from_dict(job["recipe"]))
        train(job, lambda metrics: None if at_end(metrics, job["recipe"]["epochs"]) else tell(metrics))
        tell_the_last(run, tell)
    except Exception as error:  # a trial may fail in any way: the others go on, and the reason is kept
        if lost(error):
            raise
        run.write("outcome.json", json.dumps({"state": "failed", "reason": why(error)}))


def _job(run: Folder, name: str, picked: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    from raykd.launch.search import space
    from raykd.launch.teachers import train as ensemble

    chosen = space.overrides(ray.cloudpickle.loads(plan["space"]), picked)
    recipe = override(from_dict(plan["base"]), chosen)
    trained = [(Folder(plan["storage"]) / ensemble.run_name(teacher)).place for teacher in ensemble.wanted(recipe)]
    loaded = Loaded(recipe, Path(), plan["sources"], "")
    directory.open_run(run, loaded, recipe, trained)
    shown = {
        field: space.label(value) if not isinstance(value, space.PLAIN) else value for field, value in chosen.items()
    }
    return {
        "recipe": to_dict(recipe),
        "sources": plan["sources"],
        "run": run.place,
        "name": f"{plan['name']}/trials/{name}",
        "trained": trained,
        "fingerprint": fingerprint(recipe),
        "git": plan["git"],
        "group": plan["name"],
        "job_type": "trial",
        "overrides": shown,
        "board": plan["board"],
    }


def reporter(run: Folder, name: str, plan: dict[str, Any], recipe: Recipe) -> Callable[[dict[str, Any]], None]:
    """What tells Tune of an evaluation: its figures, and for schedulers that swap trials also the checkpoint."""

    def report(metrics: dict[str, Any]) -> None:
        plain = told(metrics, recipe.evaluate_every, recipe.epochs)
        if not math.isfinite(plain[plan["metric"]]):
            raise NotFiniteError(f"epoch {plain['epoch']:g}: {plan['metric']} is {plain[plan['metric']]}")
        if not plan["swaps"]:
            tune.report(plain)
            return
        with temporary_folder() as folder:
            _copy_out(run, metrics["step"], name, Path(folder))
            tune.report(plain, checkpoint=tune.Checkpoint.from_directory(folder))

    return report


def _copy_out(run: Folder, step: int, name: str, folder: Path, seconds: float = 120.0) -> None:
    """The checkpoint of a step as Tune keeps it. A thread of its own writes it, so it may take a moment to appear."""
    until = time.monotonic() + seconds
    while all(stamp.step != step for stamp in stamps(run)):
        if time.monotonic() > until:
            raise RuntimeError(f"the checkpoint of step {step} was not written within {seconds:.0f} s")
        time.sleep(0.02)
    for file in ("state.pt", "stamp.json"):
        (folder / file).write_bytes(run.read(f"{FOLDER}/step-{step:09d}/{file}"))
    (folder / "origin.json").write_text(json.dumps({"trial": name, "step": step}))


def _take_over(run: Folder, name: str, picked: dict[str, Any]) -> None:
    """Go on from another trial's checkpoint with changed values, where Population Based Training says so."""
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


def trial_of_ensemble(job: dict[str, Any]) -> None:
    """One teacher of an ensemble. What the user must mend is left with its reason; anything else Tune tries again."""
    run = Folder(job["run"])
    run.delete("outcome.json")
    try:
        train(job, lambda metrics: tune.report({key: metrics[key] for key in ("epoch", "step", "top1")}))
    except UserError as error:
        run.write("outcome.json", json.dumps({"state": "failed", "reason": str(error)}))

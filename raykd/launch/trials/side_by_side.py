"""Ordinary runs in parallel, each a Tune trial that starts as soon as its teachers are finished."""

from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from raykd.data.storage.staging import publish
from raykd.launch.cluster import capacity, placement_groups
from raykd.launch.cluster.autoscaler import Limits
from raykd.launch.cluster.capacity import concurrent_runs
from raykd.launch.job_spec import JobSpec, git_commit, job_of, unpack
from raykd.launch.jobs import wandb_key
from raykd.launch.trials.job_progress import JobsProgress
from raykd.launch.trials.queue import Job, Queue
from raykd.launch.trials.teacher_leases import teacher_leases
from raykd.launch.trials.trial import OUTCOME, recording_failure, train
from raykd.launch.trials.tuner import UnsavedSearcher, run
from raykd.recipe import Recipe
from raykd.recipe.files.load import Loaded
from raykd.recipe.serial import from_dict
from raykd.runs import directory
from raykd.storage.folder import Folder


class NextJob(UnsavedSearcher):
    """The searcher for Tune."""

    def __init__(self, queue: Queue, kinds: list[str], settle: Callable[[], None]):
        """settle: brings the queue up to date; while nothing runs Tune calls `suggest` alone."""
        super().__init__()
        self._queue, self._kinds, self._settle = queue, kinds, settle

    def suggest(self, trial_id: str) -> Any:
        self._settle()
        if self._queue.empty:
            return Searcher.FINISHED
        job = self._queue.next()
        return None if job is None else {"id": job.name, "kind": self._kinds.index(kind(job.recipe))}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: the progress callback records how jobs end."""


def kind(recipe: Recipe) -> str:
    """A run's resources as text: runs of one kind need the same."""
    return f"{recipe.workers} × {capacity.needs(recipe)}"


def run_jobs(loaded: Loaded, progress: JobsProgress, scratch: Folder) -> None:
    """Run all jobs of the progress's queue, resuming interrupted ones; afterwards their states say how they ended.

    A teacher that another driver is training is waited for, and trained here if that driver ends without it.
    scratch: for Tune's own files, on storage that all nodes see. Raises Interrupted after SIGINT or SIGTERM.
    """
    queue = progress.queue
    jobs = list(queue.jobs.values())
    kinds = {kind(job.recipe): job.recipe for job in reversed(jobs)}
    for recipe in kinds.values():
        capacity.check_capacity(recipe)
    for data in {repr(job.recipe.data): job.recipe.data for job in jobs}.values():
        publish(data, progress.console.print)
    logged = [job.recipe for job in jobs if job.recipe.wandb.mode in ("auto", "online")]
    key = wandb_key.held_for((logged or [jobs[0].recipe])[0])
    specs = ray.put(_specs(loaded, jobs, progress.storage))  # the sources, which all share, are stored once

    def trainable(config: dict[str, Any]) -> None:
        one_job(ray.get(specs)[config["id"]], key)

    queue.most = at_most(queue, list(kinds.values()))
    placement_groups.reap()
    with teacher_leases(queue.teachers, progress.storage, progress.console.print) as leases, progress.shown():
        progress.share_teachers(leases)
        run(
            trainable,
            kinds=list(kinds.values()),
            callback=progress,
            scratch=scratch,
            idle=lambda: not queue.running,
            search_alg=NextJob(queue, list(kinds), progress.settle),
            num_samples=len(jobs),
        )


def at_most(queue: Queue, kinds: list[Recipe]) -> int:
    """How many runs Tune gets at once: one more than fit, since it gives a free place to any of those that wait."""
    if not Limits.read().known:
        return queue.most
    places = sum(map(concurrent_runs, kinds)) + 1
    return min(queue.most or places, places)


def _specs(loaded: Loaded, jobs: list[Job], storage: str) -> dict[str, JobSpec]:
    git = git_commit(loaded.path.parent)
    return {
        job.name: job_of(
            Folder(storage) / job.name,
            job.recipe,
            [(Folder(storage) / name).location for name in job.teachers],
            name=job.name,
            sources=loaded.sources,
            git=git,
            role=job.role,
            group=job.group,
            cell=job.cell,
        )
        for job in jobs
    }


def one_job(job: JobSpec, key: Any) -> None:
    """Run one job in a trial's process. A permanent failure is recorded with its reason in the run directory.

    key: the holder of W&B's key.
    """
    unpack(job.sources)
    run, recipe = Folder(job.run), from_dict(job.recipe)
    if run.exists(OUTCOME) and not directory.is_of(run, recipe):  # a corrected recipe replaces one that failed
        for each in run.names():
            run.delete(each)
    run.create()
    run.delete(OUTCOME)
    with recording_failure(run):
        directory.open_run(run, recipe, job.sources, job.trained)
        train(
            job, recipe, key, lambda metrics: tune.report({name: metrics[name] for name in ("epoch", "step", "top1")})
        )

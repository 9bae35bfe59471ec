"""The teachers of a recipe: finished runs are found by their fingerprints, missing ones are trained in parallel."""

import secrets
from dataclasses import replace

from rich.table import Table
from rich.text import Text

from raykd.launch.cluster.capacity import check_capacity, concurrent_runs, with_fixed_workers
from raykd.launch.cluster.connection import connected
from raykd.launch.driver import run as driver
from raykd.launch.driver.lines import epoch_text
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.run_state.failure import RunFailed
from raykd.launch.teachers.plan import TeacherPlan
from raykd.launch.trials.job_progress import JobsProgress
from raykd.launch.trials.progress import cpus_in_use
from raykd.launch.trials.queue import Job, Queue
from raykd.launch.trials.side_by_side import run_jobs
from raykd.recipe import Recipe
from raykd.storage import lease
from raykd.storage.folder import Folder


def ensure(plan: RunPlan) -> list[str]:
    """Run directories of the recipe's teachers; missing ones are trained, interrupted ones resumed.

    A teacher may have teachers of its own, which are trained before it. Several are trained in parallel if at least two
    fit on the cluster. Raises RunFailed naming those that failed; the others stay.
    """
    path = plan.loaded.path
    teachers = TeacherPlan(plan.storage, group=f"{path.parent.name}/{path.stem} teachers")
    names = teachers.add(plan.recipe)
    for name, result in teachers.finished.items():
        plan.display.console.print(f"{name}: already trained, top-1 {100 * result.top1:.2f} %")
    for name in teachers.of_other_data():
        directory = Folder(plan.storage) / name
        plan.display.note(f"the data changed since {name} was trained; to train it again, remove {directory}")
    if teachers.missing:
        _train(plan, list(teachers.missing.values()))
    return [(Folder(plan.storage) / name).location for name in names]


def _train(plan: RunPlan, jobs: list[Job]) -> None:
    at_most = plan.recipe.teachers.max_parallel
    if len(jobs) > 1 and at_most != 1 and all(can_be_a_trial(job.recipe) for job in jobs):
        with connected():
            for job in jobs:
                check_capacity(job.recipe)
            # Each counts as the largest. at_most 0: no limit
            fitting = (concurrent_runs(with_fixed_workers(job.recipe)) for job in jobs)
            concurrent = min(at_most or len(jobs), len(jobs), *fitting)
            if concurrent > 1:
                _side_by_side(plan, jobs, concurrent)
                return
    for job in jobs:
        trained = [(Folder(plan.storage) / name).location for name in job.teachers]
        _alone(replace(plan, recipe=job.recipe, name=job.name), trained)


def _alone(teacher: RunPlan, trained: list[str]) -> None:
    """Train one teacher; wait for it while another driver does."""
    while True:
        try:
            driver.train(teacher, trained)
            return
        except lease.Held:
            teacher.display.console.print(f"{teacher.name} is being trained by another process: waiting for it")
            lease.wait_until_free(teacher.run)


def can_be_a_trial(recipe: Recipe) -> bool:
    """Whether a run can be a Tune trial: it must use Ray, and trials reserve no resources for remote teachers."""
    return recipe.workers != 0 and recipe.teachers.placement == "inline"


def _side_by_side(plan: RunPlan, jobs: list[Job], concurrent: int) -> None:
    queue = Queue({job.name: job for job in jobs}, most=concurrent)
    text = f", {concurrent} at once: {', '.join(queue.jobs)}"
    console, folder = plan.display.console, Folder(plan.storage) / "teachers"
    console.print(Text.assemble((f"{len(jobs)} teachers", "bold"), text))
    scratch = f".{secrets.token_hex(6)}"  # two drivers may train different ones of the same teachers
    try:
        run_jobs(plan.loaded, TeacherProgress(queue, plan.storage, console), folder / scratch)
    finally:
        folder.delete(scratch)
    failed = {name: state.reason for name, state in queue.states.items() if state.status != "finished"}
    if failed:
        reasons = "; ".join(f"{name}: {reason or 'it did not finish'}" for name, reason in failed.items())
        trained = len(jobs) - len(failed)
        raise RunFailed(f"{len(failed)} of {len(jobs)} teachers failed ({reasons}); {trained} trained ones are kept")


class TeacherProgress(JobsProgress):
    """One line for each teacher's start and end, and a live table of the running ones."""

    def table(self) -> Table:
        in_use = cpus_in_use() if self.queue.running else None  # not below the last state, which stays
        table = Table(box=None, pad_edge=False, header_style="bold", title=in_use, title_justify="left")
        for name in ("teacher", "state"):
            table.add_column(name, overflow="fold")
        for name in ("epoch", "top-1"):
            table.add_column(name, justify="right", no_wrap=True)
        for name, state in self.queue.states.items():
            status = "trained by another process" if state.status == "elsewhere" else state.status
            shown = f"{status}: {state.reason}" if state.reason else status
            top1 = "" if state.top1 is None else f"{100 * state.top1:.2f} %"
            epoch = epoch_text(state.epoch, state.step) if state.step else ""
            table.add_row(name, shown, epoch, top1)
        return table

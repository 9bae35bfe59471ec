"""A queue of runs: the next one is the first whose teachers are finished and whose workers fit.

Ray gives free resources to whatever fits, so a run of two CPUs would wait for as long as runs of one CPU follow each
other: see `admission`.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from raykd.launch.cluster import capacity, placement_groups
from raykd.launch.cluster.capacity import concurrent_runs, with_fixed_workers
from raykd.recipe import Recipe

Status = Literal["elsewhere", "waiting", "running", "finished", "failed"]
"""elsewhere: a teacher that another driver trains."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """An ordinary run among others."""

    name: str  # of the run, below the storage
    recipe: Recipe
    teachers: tuple[str, ...] = ()  # names of its teachers' runs, in order: other jobs, or finished runs
    role: Literal["student", "teacher"] = "student"
    group: str = ""  # of W&B
    cell: dict[str, str] = field(default_factory=dict)  # a study's row and column, for W&B


@dataclass
class State:
    """The state of a job. Accuracies are fractions."""

    status: Status = "waiting"
    epoch: float = 0.0
    epochs: float = 1.0  # of its recipe
    top1: float | None = None
    reason: str = ""
    began: float = 0.0  # on the queue's clock
    placed: bool = False  # whether a running job has its CPUs and GPUs
    step: int = 0  # of the last evaluation; 0: there was none yet


def admission(waiting: Sequence[Recipe]) -> Callable[[Recipe], bool]:
    """Whether a run of a recipe may start: not if it could take resources that a larger run waits for.

    waiting: this driver's started runs that wait for their resources. They are waited for only if the end of its other
    runs leaves enough for them: other drivers may hold the rest for days.
    """
    nodes, left = functools.cache(capacity.nodes), functools.cache(left_by_others)

    def is_awaited(larger: Recipe) -> bool:
        return all(left()[name] + 1e-6 >= amount for name, amount in total(larger).items())

    def compete(one: Recipe, other: Recipe) -> bool:
        return any(capacity.fit(node, one) and capacity.fit(node, other) for node in nodes())

    return lambda recipe: (
        not any(size(recipe) < size(larger) and compete(recipe, larger) and is_awaited(larger) for larger in waiting)
    )


def left_by_others() -> Counter[str]:
    """The cluster's resources without those of other drivers' placement groups.

    Ray's figures of free resources lag behind by some tenths of a second, just when a run has ended.
    """
    left: Counter[str] = Counter()
    for node in capacity.nodes():
        left.update(node.resources)
    for group in placement_groups.placed_by_others():
        for bundle in group.bundles:
            left.subtract(bundle)
    return left


def size(recipe: Recipe) -> tuple[float, float]:
    """GPUs and CPUs, by which runs are ordered."""
    return total(recipe)["GPU"], total(recipe)["CPU"]


def total(recipe: Recipe) -> Counter[str]:
    """The Ray resources of all workers of a recipe with a fixed number of workers."""
    workers, _ = capacity.workers_of(recipe)
    return Counter({name: workers * amount for name, amount in capacity.per_worker(recipe).items()})


@dataclass
class Queue:
    """Jobs, including those that others depend on, with fixed numbers of workers.

    most: maximum number of concurrent jobs, 0: as many as fit.
    capacity: how many runs of a recipe with several workers fit; for runs of one worker Ray itself does the accounting.
    admission: given the recipes of started jobs that wait for their CPUs and GPUs: whether a run of another recipe may
    start.
    """

    jobs: dict[str, Job]
    capacity: Callable[[Recipe], int] = concurrent_runs
    admission: Callable[[Sequence[Recipe]], Callable[[Recipe], bool]] = admission
    most: int = 0
    states: dict[str, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jobs = {name: replace(job, recipe=with_fixed_workers(job.recipe)) for name, job in self.jobs.items()}
        self.states = {name: State(epochs=job.recipe.epochs) for name, job in self.jobs.items()}

    def next(self) -> Job | None:
        """Start the first job that can run now and return it; None if every job must wait for another one."""
        if self.most and len(self.running) >= self.most:
            return None
        admitted = self.admission([self.jobs[name].recipe for name in self.running if not self.states[name].placed])
        for name in self._all("waiting"):
            job = self.jobs[name]
            ready = all(self._is_there(teacher) for teacher in job.teachers)
            if ready and self._fits(job) and admitted(job.recipe):
                self.states[name].status = "running"
                return job
        return None

    @property
    def empty(self) -> bool:
        """Whether no job will start any more."""
        return not self._all("waiting") and not self.elsewhere

    @property
    def teachers(self) -> list[str]:
        return [name for name, job in self.jobs.items() if job.role == "teacher"]

    @property
    def running(self) -> list[str]:
        return self._all("running")

    @property
    def elsewhere(self) -> list[str]:
        """Teachers that another driver trains."""
        return self._all("elsewhere")

    def finish(self, name: str) -> None:
        self.states[name].status = "finished"

    def fail(self, name: str, reason: str) -> list[str]:
        """Mark a job, and all jobs that depend on it, as failed; returns their names."""
        failed = [name]
        self.states[name].status, self.states[name].reason = "failed", reason
        for other in self._all("waiting"):
            if name in self.jobs[other].teachers and self.states[other].status == "waiting":
                failed += self.fail(other, f"its teacher {name} failed: {reason.rpartition(' failed: ')[2]}")
        return failed

    def _all(self, status: Status) -> list[str]:
        return [name for name, state in self.states.items() if state.status == status]

    def _is_there(self, teacher: str) -> bool:
        return teacher not in self.states or self.states[teacher].status == "finished"

    def _fits(self, job: Job) -> bool:
        if job.recipe.workers == 1:
            return True
        running = [self.jobs[name] for name in self.running]
        return sum(other.recipe.workers != 1 for other in running) < self.capacity(job.recipe)

"""Which of several runs comes next: those whose teachers are there, in their order, as far as there is room."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from raykd.recipe import Recipe

Status = Literal["waiting", "running", "finished", "failed"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """An ordinary run among others."""

    name: str  # of the run, below the storage
    recipe: Recipe  # with a fixed number of workers
    teachers: tuple[str, ...] = ()  # runs that it learns from, in order: other jobs', or finished ones
    role: Literal["student", "teacher"] = "student"
    group: str = ""  # of W&B


@dataclass
class State:
    """How far a job is. Accuracies are fractions, seconds those of its last start."""

    status: Status = "waiting"
    epoch: float = 0.0
    top1: float | None = None
    reason: str = ""
    began: float = 0.0  # by the queue's clock


@dataclass
class Queue:
    """Jobs, those that others wait for among them; `most`: how many run at once, 0 for as many as there is room for.

    room: how many runs of a recipe with several workers there is room for; of the others Ray keeps account itself.
    """

    jobs: dict[str, Job]
    room: Callable[[Recipe], int]
    most: int = 0
    states: dict[str, State] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.states = {name: State() for name in self.jobs}

    def next(self) -> Job | None:
        """The first job that can start now, then under way; None where each must wait for another's end."""
        if self.most and len(self._all("running")) >= self.most:
            return None
        for name in self._all("waiting"):
            job = self.jobs[name]
            if all(self._is_there(teacher) for teacher in job.teachers) and self._has_room(job):
                self.states[name].status = "running"
                return job
        return None

    @property
    def empty(self) -> bool:
        """Whether no job waits any more."""
        return not self._all("waiting")

    def finish(self, name: str) -> None:
        self.states[name].status = "finished"

    def fail(self, name: str, reason: str) -> list[str]:
        """Note that a job failed, and with it those that would have learned from it; returns the names of all."""
        failed = [name]
        self.states[name].status, self.states[name].reason = "failed", reason
        for other in self._all("waiting"):
            if name in self.jobs[other].teachers and self.states[other].status == "waiting":
                failed += self.fail(other, f"its teacher {name} failed: {reason.rpartition(' failed: ')[2]}")
        return failed

    def counts(self) -> dict[Status, int]:
        """Jobs by status, of those that there are."""
        found: list[Status] = [state.status for state in self.states.values()]
        return {status: found.count(status) for status in dict.fromkeys(found)}

    def _all(self, status: Status) -> list[str]:
        return [name for name, state in self.states.items() if state.status == status]

    def _is_there(self, teacher: str) -> bool:
        return teacher not in self.states or self.states[teacher].status == "finished"

    def _has_room(self, job: Job) -> bool:
        if job.recipe.workers == 1:
            return True
        running = [self.jobs[name] for name in self._all("running")]
        return sum(other.recipe.workers != 1 for other in running) < self.room(job.recipe)

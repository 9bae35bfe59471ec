"""Remote teachers: frozen teachers in Ray actors on other CPUs, GPUs or nodes, running some steps ahead of the student.

Every worker owns `teachers.actors` actors, which take its steps in turn. An actor reads its batches itself (see
raykd.training.teacher_replica); step numbers go to it, and outputs come back through Ray's object store. The actors lie
outside the workers' placement group, so Ray places them, and its autoscaler makes room for them, apart from the
students. As no actor is detached, none outlives its worker. One that is lost is replaced and asked again: the result is
the same.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import ray
import torch
import torch.distributed as dist
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from raykd.contract import Output, Placement
from raykd.launch.cluster.capacity import per_actor, waiting_for_actor
from raykd.launch.job_spec import JobSpec
from raykd.launch.run_state.failure import TeachersLost
from raykd.recipe import Recipe

if TYPE_CHECKING:
    from raykd.training.teacher_replica import TeacherReplica

LOSSES = 5  # consecutive losses of actors, without a finished step, before the run fails
PATIENCE = 10.0  # seconds of waiting before the user is told


@ray.remote
class TeacherActor:
    """The actor. Its constructor does almost nothing, so that a reply of `placed` shows that it has been placed."""

    def __init__(self, job: JobSpec, rank: int, world: int, features: Sequence[tuple[str, ...]]):
        self._arguments = (job, rank, world, features)
        self._replica: TeacherReplica | None = None

    def placed(self) -> None:
        """Returns at once, to show that the actor has been placed."""

    def prepare(self) -> None:
        """Load data and teachers, once; if that fails, `outputs` fails with the same error."""
        self._prepared()

    def _prepared(self) -> "TeacherReplica":
        if self._replica is None:
            self._replica = _replica(*self._arguments)
        return self._replica

    def outputs(self, step: int) -> list[Any]:
        """See TeacherReplica.outputs."""
        return self._prepared().outputs(step)


def _replica(job: JobSpec, rank: int, world: int, features: Sequence[tuple[str, ...]]) -> "TeacherReplica":
    from raykd.training.process import hide_gpus, use_cpus
    from raykd.training.teacher_replica import TeacherReplica

    with job.opened() as recipe:  # an actor may be killed: leave no files
        teachers = recipe.teachers
        use_cpus(teachers.cpus_per_actor)
        device = torch.device("cuda", 0) if teachers.gpus_per_actor else torch.device("cpu")
        if device.type == "cpu":
            hide_gpus()
        placement = Placement(device, teachers.cpus_per_actor, rank, world, teachers.gpus_per_actor)
        return TeacherReplica(recipe, job.trained, features, placement, teachers.actors)


@dataclass(frozen=True)
class _Actor:
    handle: Any
    placed: Any  # object refs of its first two calls
    prepared: Any


class RemoteTeachers:
    """The worker's side: called with a step, returns the teacher outputs for each part of its batch."""

    def __init__(
        self,
        job: JobSpec,
        recipe: Recipe,
        placement: Placement,
        features: Sequence[tuple[str, ...]],
        steps: int,
        notify: Callable[[str], None],
    ):
        """Start the actors, without waiting for them. steps: of the whole training. notify: shows the user a line."""
        self._recipe, self._rank, self._steps, self._notify = recipe, placement.rank, steps, notify
        self._arguments = job, placement.rank, placement.world, features
        self._asked: dict[int, Any] = {}
        self._told = ""
        self._actors = [self._new() for _ in range(recipe.teachers.actors)]

    def gather(self) -> None:
        """Wait until all workers' actors are ready, without a time limit: nodes may have to be added.

        After that, a worker whose actor is replaced makes the others wait in a collective, which has a time limit.
        """
        workers: Any = dist.new_group(backend="gloo", timeout=timedelta(days=7)) if dist.is_initialized() else None
        for index in range(len(self._actors)):
            self._get(index, functools.partial(self._ready, index))
        if workers is not None:
            dist.barrier(group=workers)
            dist.destroy_process_group(workers)

    def _ready(self, index: int) -> Any:
        return self._actors[index].prepared

    def __call__(self, step: int) -> list[list[Output]]:
        """Outputs for each part of the step's batch, on the CPU; the actors continue with the next steps."""
        from raykd.training.teacher_replica import unpack

        count = len(self._actors)
        for soon in range(step, min(step + count * self._recipe.teachers.ahead + 1, self._steps)):
            if soon not in self._asked:
                self._asked[soon] = self._actors[soon % count].handle.outputs.remote(soon)
        parts = self._get(step % count, lambda: self._asked[step])
        del self._asked[step]
        return [[unpack(output) for output in part] for part in parts]

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            ray.kill(actor.handle)

    def _new(self) -> _Actor:
        """A new actor outside the worker's placement group, where Ray would place it by default."""
        outside = PlacementGroupSchedulingStrategy(placement_group=cast(Any, None))
        resources = per_actor(self._recipe)
        options = {"num_cpus": resources.get("CPU", 0), "num_gpus": resources.get("GPU", 0)}
        handle = cast(Any, TeacherActor).options(**options, scheduling_strategy=outside).remote(*self._arguments)
        return _Actor(handle, handle.placed.remote(), handle.prepare.remote())

    def _get(self, index: int, answer: Callable[[], Any]) -> Any:
        """An actor's result; if it is lost, its replacement's. Exceptions of the actor's code are raised here."""
        for left in reversed(range(LOSSES)):
            ref = answer()
            try:
                self._wait(index, ref)
                return ray.get(ref)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except ray.exceptions.RayError as error:
                if not left:
                    raise TeachersLost(
                        f"teachers: {LOSSES} actors of worker {self._rank}'s remote teachers were lost, one after the "
                        f"other, without completing a step ({_first_line(error)}); use --teachers.placement inline"
                    ) from error
                self._replace(index, type(error).__name__)

    def _wait(self, index: int, ref: Any) -> None:
        while not ray.wait([ref], timeout=PATIENCE)[0]:
            if not ray.wait([self._actors[index].placed], timeout=0)[0]:
                self._tell(waiting_for_actor(self._recipe, self._rank))

    def _replace(self, index: int, why: str) -> None:
        """Replace a lost actor, and request its outstanding steps again."""
        self._tell(f"a remote teacher of worker {self._rank} was lost ({why}); another one computes its steps again")
        self._told = ""
        ray.kill(self._actors[index].handle)
        self._actors[index] = self._new()
        for step in sorted(self._asked):
            if step % len(self._actors) == index:
                self._asked[step] = self._actors[index].handle.outputs.remote(step)

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._notify(line)
        self._told = line


def _first_line(error: Exception) -> str:
    """Type and first line of a Ray error, whose message has many lines."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])

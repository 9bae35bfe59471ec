"""Why a run failed, as one actionable line."""

import re
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from raykd import UserError
from raykd.launch.run_state.messages import Failure, WorkerStatus
from raykd.recipe import Pretrained, Recipe, Run, Train
from raykd.runs.attempts import Superseded
from raykd.training.update.nonfinite import NotFiniteError


class RunFailed(RuntimeError):
    """A run ended without a result. The message is one line with the cause; the command line exits with status 1."""


class TeachersLost(RuntimeError):
    """The actors of a worker's remote teachers keep being lost after each replacement."""


# Errors that a restart would only repeat (NotFiniteError is an ArithmeticError); lost workers and broken connections,
# which it repairs, are other errors.
HOPELESS: tuple[type[Exception], ...] = (UserError, ArithmeticError, AssertionError, AttributeError, ImportError)
HOPELESS += (LookupError, NameError, NotImplementedError, Superseded, TeachersLost, TypeError, ValueError)

TIMED_OUT = ("Timed out waiting", "timeout caused pair closure", "collective operation timeout", "Watchdog caught")
NOT_REPEATABLE = "does not have a deterministic implementation"
ONE_VALUE = "Expected more than 1 value per channel when training"
ONE_IMAGE = (
    "batch_size: batch normalisation needs more than one value per channel, so one image is too few; raise "
    "--batch-size, or lower --workers or --accumulate"
)
NO_MEMORY = ("can't allocate memory", "out of memory", "OutOfMemory", "running low on memory", "memory monitor")


def fatal(error: BaseException, recipe: Recipe, rank: int, world: int) -> Failure | None:
    """The failure of an error that a restart would only repeat; None if a restart may help."""
    if is_out_of_memory(error):
        return Failure("failure", Size.of(recipe).too_large(world))
    if NOT_REPEATABLE in str(error):
        what = str(error).splitlines()[0]
        return Failure("input", f"precision.deterministic: {what}; turn it off for this method or network")
    if ONE_VALUE in str(error):
        return Failure("input", ONE_IMAGE)
    if isinstance(error, HOPELESS):
        return Failure("input" if isinstance(error, UserError) else "failure", one_line(error, rank))
    return None


def one_line(error: BaseException, rank: int) -> str:
    """The error as one line, with its location if it is an unexpected one."""
    if isinstance(error, (UserError, NotFiniteError, Superseded, TeachersLost)):
        return str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"worker {rank}: {type(error).__name__}: {error} ({Path(frame.filename).name}, line {frame.lineno})"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, this process, or the node (for a worker that Ray killed) ran out of memory."""
    return isinstance(error, MemoryError) or any(mark in f"{type(error).__name__} {error}" for mark in NO_MEMORY)


@dataclass(frozen=True)
class Size:
    """The parts of a recipe that explain failures, as plain values: Train's controller can't import user classes."""

    networks: tuple[str, ...]
    batch_size: int
    accumulate: int
    timeout: float
    gpus: float  # of each worker

    @classmethod
    def of(cls, recipe: Recipe) -> "Size":
        limits = recipe.collective_timeout, recipe.gpus_per_worker
        return cls(tuple(networks(recipe)), recipe.batch_size, recipe.accumulate, *limits)

    def too_large(self, world: int) -> str:
        """Batch size, networks, and what to reduce, as text."""
        share = -(-self.batch_size // max(1, world))
        part = f", or a larger part of the GPU than --gpus-per-worker {self.gpus:g}" if 0 < self.gpus < 1 else ""
        return (
            f"out of memory with {', '.join(self.networks)} and batch_size {self.batch_size} "
            f"({-(-share // self.accumulate)} images at once on each of {max(1, world)} worker(s)): "
            f"lower --batch-size, raise --accumulate or --workers, or use --precision.autocast bfloat16{part}"
        )


def networks(recipe: Recipe) -> list[str]:
    """The networks of a recipe as text."""
    names = [f"student {recipe.student.name}"]
    for source in recipe.teachers.sources:
        if isinstance(source, Train):
            names.append(f"{len(source.seeds)} teacher(s) {source.recipe.student.name}")
        elif isinstance(source, Pretrained):
            names.append(f"teacher {source.network.name}")
        elif isinstance(source, Run):
            names.append(f"the teacher of {source.path}")
    return names


def cause_of(error: BaseException) -> BaseException:
    """The exception that a worker raised, without Ray's wrappers."""
    return getattr(error, "cause", None) or error


def preempted(failures: dict[int, BaseException]) -> bool:
    """Whether Ray reports that a worker's node was preempted."""
    causes = [getattr(error, "health_check_failure", error) for error in failures.values()]
    return any(getattr(cause, "preempted", False) for cause in causes)


def explain(failures: dict[int, BaseException], workers: dict[int, WorkerStatus], size: Size) -> str:
    """Why workers were lost; `failures` and `workers` by rank."""
    causes = {rank: cause_of(error) for rank, error in sorted(failures.items())}
    for cause in causes.values():
        if is_out_of_memory(cause):
            return full_node(cause) + size.too_large(len(workers))
    for cause in causes.values():
        if any(mark in str(cause) for mark in TIMED_OUT):
            return f"a worker kept the others waiting for more than {size.timeout:g} s: {stuck(workers)}"
    if all(is_lost_process(cause) for cause in causes.values()) and _waited_too_long(workers, size.timeout):
        # NCCL's watchdog ends processes that have waited too long, without an error that Ray could forward.
        return f"a worker kept the others waiting for more than {size.timeout:g} s: {stuck(workers)}"
    # A lost worker makes the others fail in their collectives; its own error is the informative one.
    rank, cause = min(causes.items(), key=lambda item: (type(item[1]).__name__ == "RuntimeError", item[0]))
    return f"worker {rank}{_home(workers.get(rank))}: {in_short(cause)}"


def in_short(error: BaseException) -> str:
    """An error's last line; Ray's paragraph on a lost process is reduced to its facts."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if is_lost_process(error):
        return "its process was lost: it crashed, or was killed by somebody or by the system (out of memory)"
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def is_lost_process(error: BaseException) -> bool:
    """Whether Ray reports that a worker's process ended by itself, without an error."""
    return any("worker process has died" in line and "SYSTEM_ERROR" in line for line in str(error).splitlines())


def _waited_too_long(workers: dict[int, WorkerStatus], timeout: float) -> bool:
    """Whether a worker had nearly reached the collective timeout; its status is up to two seconds old."""
    return any(worker.waits and worker.seconds > 0.9 * timeout - 5 for worker in workers.values())


def full_node(error: BaseException) -> str:
    """The node that ran out of memory, if Ray killed workers for that; else ""."""
    match = re.search(r"Memory on the node \(IP: ([^,]+),.*?\) was (.+?) \(", str(error), re.DOTALL)
    return f"the memory of node {match[1]} was full ({match[2]}), so Ray killed workers there; " if match else ""


def of_train(error: BaseException, size: Size, world: int) -> str:
    """Why Ray Train itself ended: its controller or another actor that is not a worker."""
    cause = getattr(error, "controller_failure", error)
    if is_out_of_memory(cause):
        return full_node(cause) + size.too_large(world)
    return f"Ray's training controller: {in_short(cause)}"


def stuck(workers: dict[int, WorkerStatus]) -> str:
    """The ranks that the others wait for: those that stopped reporting, else those that are not waiting themselves."""
    silent = {rank: worker for rank, worker in workers.items() if worker.silent > 10}
    busy = {rank: worker for rank, worker in workers.items() if not worker.waits}
    suspects = silent or busy or workers
    return "; ".join(
        f"worker {rank}{_home(worker)}, "
        + (f"silent for {worker.silent:.0f} s" if worker.silent > 10 else f"was at {worker.at}")
        for rank, worker in suspects.items()
    )


def _home(worker: WorkerStatus | None) -> str:
    return f" ({worker.host}, process {worker.pid})" if worker else ""


def reason(error: BaseException, workers: dict[int, WorkerStatus], recipe: Recipe) -> str:
    """Why a run failed, as one line; raises a worker's UserError again."""
    failures = getattr(error, "worker_failures", {})
    for cause in map(cause_of, failures.values()):
        if isinstance(cause, UserError) or type(cause).__name__ == "UserError":
            raise UserError(str(cause).strip().splitlines()[-1]) from None
    if failures:
        return explain(failures, workers, Size.of(recipe))
    return of_train(error, Size.of(recipe), len(workers))


def give_up(failure: Failure) -> NoReturn:
    """End a run that a restart can't repair: raise UserError for invalid input, else RunFailed.

    The workers end with the driver.
    """
    if failure.kind == "input":
        raise UserError(failure.line)
    raise RunFailed(failure.line)

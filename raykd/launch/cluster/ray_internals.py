"""Every private Ray API that raykd uses, so that a new version of Ray needs to be checked against one file.

pyproject.toml limits Ray to the minor versions that this was tested with. (One private class is subclassed elsewhere:
torch's backend in `preemption`, as importing that imports torch.)
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast


class Group(NamedTuple):
    """A placement group as listed in the head's table."""

    id: bytes
    job: str  # hexadecimal, of the job that made it
    actor: bytes  # that created it; empty if a driver did
    actor_dead: bool
    detached: bool
    bundles: list[dict[str, float]]  # the resources of each
    placed: bool  # whether it holds them


@contextmanager
def own_process_group() -> Iterator[None]:
    """Context in which Ray starts its processes in a process group of their own, apart from the driver's.

    `timeout`, shells and batch systems signal a whole group. Ray would end at once, while the driver still needs it to
    save a checkpoint. Ray's processes end with the driver in any case, as they request that from the kernel.
    """
    from ray._private import services

    usual, patched = services.ConsolePopen, cast(Any, services)
    patched.ConsolePopen = functools.partial(usual, process_group=0)
    try:
        yield
    finally:
        patched.ConsolePopen = usual


def free_resources() -> dict[str, dict[str, float]]:
    """Free resources by node id."""
    from ray._private.state import available_resources_per_node

    return dict(available_resources_per_node())


def draining_nodes() -> set[str]:
    """Ids of the nodes that are being drained."""
    from ray._private.state import state

    return set(state.get_draining_nodes())


def dead_jobs() -> set[str]:
    """Ids of jobs that have ended, in hexadecimal."""
    from ray._private.state import jobs

    return {job["JobID"] for job in jobs() if job["IsDead"]}


def placement_groups() -> list[Group]:
    """All placement groups that are not removed. Unlike Ray's public listing, this works without the dashboard."""
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Table  # type: ignore[attr-defined]  # made at run time

    table = map(Table.FromString, state._connect_and_get_accessor().get_placement_group_table())
    return [_group(entry, entry.state == Table.CREATED) for entry in table if entry.state != Table.REMOVED]


def _group(entry: Any, placed: bool) -> Group:
    # For a group created by a driver, the table has no actor and reports it as dead.
    actor = entry.creator_actor_id if entry.creator_actor_id.strip(b"\xff") else b""
    job, dead = entry.creator_job_id.hex(), entry.creator_actor_dead
    bundles = [dict(bundle.unit_resources) for bundle in entry.bundles]
    return Group(entry.placement_group_id, job, actor, dead, entry.is_detached, bundles, placed)


def kill_train_controllers() -> None:
    """Kill the controllers of Ray Train that this driver started; their workers end with them."""
    import ray
    from ray._private.state import actors
    from ray._private.worker import global_worker

    for actor, entry in actors(job_id=global_worker.current_job_id).items():
        if entry["ActorClassName"] == "TrainController" and entry["State"] != "DEAD":
            worker: Any = global_worker  # gets its core_worker when it connects
            worker.core_worker.kill_actor(ray.ActorID.from_hex(actor), True)


def actor_lives(actor: bytes) -> bool:
    """Whether an actor is alive or being started."""
    from ray._private.state import state

    known = state.actor_table(actor.hex()).get("State")
    return known in ("ALIVE", "RESTARTING", "PENDING_CREATION", "DEPENDENCIES_UNREADY")

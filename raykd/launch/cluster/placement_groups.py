"""Placement groups that nobody uses any more, and that Ray itself would keep: they hold CPUs which others wait for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private.state import jobs, state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Table  # type: ignore[attr-defined]  # made at run time
from ray.util.placement_group import PlacementGroup, remove_placement_group


def reap() -> int:
    """Remove the groups of dead jobs, and in this job those whose creator is dead; returns how many.

    Ray frees a group when both its job and the actor that made it are dead. A trial that is stopped takes its Train
    controller with it while the job lives on; and a controller that dies while it waits for a group leaves that.
    """
    mine = ray.get_runtime_context().get_job_id()
    dead = {job["JobID"] for job in jobs() if job["IsDead"]}
    found = [group for group in groups() if _orphaned(group, mine, dead)]
    for group in found:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return len(found)


def groups() -> list[Table]:
    """All placement groups that are not removed, from the head's own table; it needs no dashboard."""
    table = state._connect_and_get_accessor().get_placement_group_table()
    return [group for group in map(Table.FromString, table) if group.state != Table.REMOVED]


def _orphaned(group: Table, mine: str, dead: set[str]) -> bool:
    if group.is_detached:
        return False
    # Of a group that no actor but a driver made, the table says that its actor is dead, and gives none.
    by_actor = bool(group.creator_actor_id.strip(b"\xff"))
    if group.creator_job_id.hex() == mine:
        return by_actor and group.creator_actor_dead
    gone = group.creator_actor_dead or not by_actor or not _alive(group.creator_actor_id)
    return group.creator_job_id.hex() in dead and gone


def _alive(actor: bytes) -> bool:
    known = state.actor_table(actor.hex()).get("State")
    return known in ("ALIVE", "RESTARTING", "PENDING_CREATION", "DEPENDENCIES_UNREADY")


@contextmanager
def reaped(seconds: float = 1.0) -> Iterator[None]:
    """Inside, and once at its end, groups are reaped as soon as their trials have gone."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(seconds):
            reap()

    thread = threading.Thread(target=watch, name="group-reaper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        reap()

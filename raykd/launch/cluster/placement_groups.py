"""Removes abandoned placement groups, which Ray keeps and whose CPUs others wait for.

Ray Train 2.60 has a cleaner of its own, but it learns of a group only once the group's workers have started: if a
controller dies while it waits for resources, its group stays, and takes CPUs as soon as they become free.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from raykd.launch.cluster.ray_internals import Group, actor_lives, dead_jobs, placement_groups


def reap() -> int:
    """Remove the groups of dead jobs, and those of this job whose creator is dead; returns their number.

    Ray frees a group when both its job and the actor that created it are dead. Stopping a trial kills its Train
    controller while the job lives on, and a controller that dies while waiting for a group leaves that group.
    """
    mine, dead = ray.get_runtime_context().get_job_id(), dead_jobs()
    orphans = [group for group in placement_groups() if _orphaned(group, mine, dead)]
    for group in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.id)))
    return len(orphans)


def placed() -> list[Group]:
    """The groups of this driver's job that hold their resources."""
    mine = ray.get_runtime_context().get_job_id()
    return [group for group in placement_groups() if group.job == mine and group.placed]


def placed_by_others() -> list[Group]:
    """The groups of other jobs that hold their resources."""
    mine = ray.get_runtime_context().get_job_id()
    return [group for group in placement_groups() if group.job != mine and group.placed]


def _orphaned(group: Group, mine: str, dead: set[str]) -> bool:
    if group.detached:
        return False
    if group.job == mine:
        return bool(group.actor) and group.actor_dead
    return group.job in dead and (group.actor_dead or not group.actor or not actor_lives(group.actor))


@contextmanager
def reaped(seconds: float = 1.0) -> Iterator[None]:
    """Context in which, and at whose end, groups of ended trials are removed."""
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

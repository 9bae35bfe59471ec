"""Placement groups that nobody uses any more, and that Ray itself would keep: they hold CPUs which others wait for.

Ray Train 2.60 has a cleaner of its own, which is told of a group only once the group's workers have started: that of a
controller which dies while it waits for room stays, and its CPUs with it as soon as there is room.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

from raykd.launch.cluster.ray_internals import Group, actor_lives, dead_jobs, placement_groups


def reap() -> int:
    """Remove the groups of dead jobs, and in this job those whose creator is dead; returns how many.

    Ray frees a group when both its job and the actor that made it are dead. A trial that is stopped takes its Train
    controller with it while the job lives on; and a controller that dies while it waits for a group leaves that.
    """
    mine, dead = ray.get_runtime_context().get_job_id(), dead_jobs()
    orphans = [group for group in placement_groups() if _orphaned(group, mine, dead)]
    for group in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.id)))
    return len(orphans)


def _orphaned(group: Group, mine: str, dead: set[str]) -> bool:
    if group.detached:
        return False
    if group.job == mine:
        return bool(group.actor) and group.actor_dead
    return group.job in dead and (group.actor_dead or not group.actor or not actor_lives(group.actor))


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

"""Small runs don't take the resources that a larger run is waiting for, on simulated clusters."""

from dataclasses import replace

import pytest

from raykd.launch.cluster.autoscaler import Node
from raykd.launch.cluster.ray_internals import Group
from raykd.launch.trials.queue import Job, Queue, admission
from recipes.digits.supervised import recipe as digits

ONE = replace(digits, workers=1)
TWO = replace(digits, workers=2)
QUARTER, GPU = replace(ONE, gpus_per_worker=0.25), replace(ONE, gpus_per_worker=1)


@pytest.fixture
def cluster(monkeypatch):
    """Sets the nodes, and what other drivers hold of them."""

    def of(*nodes, others=()):
        groups = [Group(b"", "", b"", False, False, [bundle], True) for bundle in others]
        monkeypatch.setattr("raykd.launch.cluster.capacity.nodes", lambda: list(nodes))
        monkeypatch.setattr("raykd.launch.cluster.placement_groups.placed_by_others", lambda: groups)

    return of


def node(cpus, gpus=0, **labels):
    return Node({"CPU": float(cpus), "GPU": float(gpus)}, labels)


def test_small_runs_wait_while_a_larger_one_does(cluster):
    cluster(node(2))
    assert not admission([TWO])(ONE) and not admission([ONE, TWO])(ONE)
    assert admission([TWO])(TWO) and admission([ONE])(TWO)
    assert admission([ONE])(ONE) and admission([])(ONE)


def test_a_run_of_a_whole_gpu_is_not_overtaken_by_quarters(cluster):
    cluster(node(8, 1))
    assert not admission([GPU])(QUARTER) and not admission([GPU])(TWO)
    assert admission([QUARTER])(GPU)


def test_runs_for_other_nodes_start(cluster):
    cluster(node(1, zone="a"), node(2, zone="b"))
    here, there = replace(ONE, node_labels=("zone=a",)), replace(ONE, node_labels=("zone=b",), cpus_per_worker=2)
    assert admission([there])(here)
    assert not admission([there])(replace(there, cpus_per_worker=1))


def test_resources_of_other_drivers_are_not_waited_for(cluster):
    """Another driver has one of the two CPUs."""
    cluster(node(2), others=[{"CPU": 1.0}])
    assert admission([TWO])(ONE)


def test_every_job_of_a_queue_ends_whatever_their_sizes(cluster):
    """Ray as simulated here prefers the smallest waiting run, yet the large teacher starts before most cells."""
    recipes = [TWO if i == 5 else replace(TWO, workers=3) if i == 40 else ONE for i in range(60)]
    jobs = [Job(name=str(i), recipe=recipe) for i, recipe in enumerate(recipes)]
    large = replace(jobs[5], teachers=("0",))
    queue = Queue({job.name: job for job in [large, *jobs[:5], *jobs[6:]]}, lambda recipe: 1, admission, most=5)
    free, ended, running = 3, [], []
    while not queue.empty or queue.running:
        cluster(node(3))
        while queue.next() is not None:
            pass
        pending = [name for name in queue.running if not queue.states[name].placed]
        for name in sorted(pending, key=lambda name: queue.jobs[name].recipe.workers):
            if queue.jobs[name].recipe.workers <= free:
                free -= queue.jobs[name].recipe.workers
                queue.states[name].placed = True
                running.append(name)
        ended.append(running.pop(0))
        free += queue.jobs[ended[-1]].recipe.workers
        queue.finish(ended[-1])
    assert len(ended) == 60 and ended.index("5") < 12

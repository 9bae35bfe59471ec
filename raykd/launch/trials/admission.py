"""Which runs may start while larger ones wait for their CPUs and GPUs.

Ray gives free resources to whatever fits, so a run of two CPUs would wait for as long as runs of one CPU follow each
other.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence

from raykd.launch.cluster import capacity, placement_groups
from raykd.recipe import Recipe


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

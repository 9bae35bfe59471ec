"""The Ray resources of a run, and whether the cluster can have room for its workers and their remote teachers."""

from dataclasses import replace
from typing import Any

from raykd import UserError
from raykd.launch.cluster.autoscaler import Limits, Node
from raykd.launch.cluster.ray_internals import free_resources
from raykd.recipe import Recipe


def workers_of(recipe: Recipe) -> tuple[int, int]:
    """Minimum and maximum number of workers."""
    return recipe.workers if isinstance(recipe.workers, tuple) else (recipe.workers, recipe.workers)


def with_fixed_workers(recipe: Recipe) -> Recipe:
    """A recipe for trials: its minimum number of workers, fixed, so that exactly what is reserved is used."""
    return replace(recipe, workers=max(1, workers_of(recipe)[0]))


def actors_of(recipe: Recipe) -> int:
    """Number of each worker's remote teacher actors."""
    teachers = recipe.teachers
    return teachers.actors if teachers.placement == "remote" and teachers.sources else 0


def per_worker(recipe: Recipe) -> dict[str, float]:
    """The Ray resources of one worker."""
    resources = {"CPU": float(recipe.cpus_per_worker)}
    if recipe.gpus_per_worker:
        resources["GPU"] = float(recipe.gpus_per_worker)
    if recipe.accelerator_type:
        resources[f"accelerator_type:{recipe.accelerator_type}"] = 0.001
    return resources


def per_actor(recipe: Recipe) -> dict[str, float]:
    """The Ray resources of one remote teacher actor."""
    amounts = {"CPU": float(recipe.teachers.cpus_per_actor), "GPU": float(recipe.teachers.gpus_per_actor)}
    return {name: amount for name, amount in amounts.items() if amount}


def labels_of(recipe: Recipe) -> dict[str, str]:
    """Ray's label selector for a recipe's workers; raises UserError for a malformed label."""
    for label in recipe.node_labels:
        if label.count("=") != 1 or not all(label.split("=")):
            raise UserError(f"node_labels: {label!r} is not of the form KEY=VALUE")
    return dict(label.split("=") for label in recipe.node_labels)


def task_options(recipe: Recipe) -> dict[str, Any]:
    """Options of a Ray task with the resources of one of the recipe's workers."""
    resources, labels = per_worker(recipe), labels_of(recipe)
    options = {"num_cpus": resources.pop("CPU"), "num_gpus": resources.pop("GPU", 0), "resources": resources}
    return options | ({"label_selector": labels} if labels else {})


def needs(recipe: Recipe) -> str:
    """One worker's resources and labels as text."""
    return _words(per_worker(recipe), [f"label {label}" for label in recipe.node_labels])


def _words(resources: dict[str, float], more: list[str]) -> str:
    return ", ".join([name if ":" in name else f"{amount:g} {name}" for name, amount in resources.items()] + more)


def check_capacity(recipe: Recipe) -> Recipe:
    """Raise UserError if the cluster can never place the recipe's minimum of workers, even after scaling up.

    Ray itself would wait forever without a message. Returns the recipe; of an elastic run with remote teachers, with at
    most as many workers as fit along with their actors, since Ray would grow the group until no CPU is left.
    """
    limits = Limits.read()
    if not limits.known:
        return recipe
    least, most = workers_of(recipe)
    grown = " even if the autoscaler adds all its nodes" if limits.types else ""
    fitting = capacity(recipe, limits)
    if fitting < least:
        raise UserError(
            f"workers: {least} worker(s) of {needs(recipe)} each can never run here: there is room for {fitting}"
            f"{grown}; lower --workers, --cpus-per-worker or --gpus-per-worker, or use a larger cluster"
        )
    if not actors_of(recipe):
        return recipe
    present, added = limits.nodes(nodes())
    fitting = workers_that_fit(present + added, recipe, most)
    if fitting < least:
        raise UserError(
            f"teachers.placement: {least} worker(s) of {needs(recipe)}, each with {actors_of(recipe)} actor(s) of "
            f"{_words(per_actor(recipe), [])}, can never run here: there is room for {fitting}{grown}; "
            "lower --workers, --teachers.actors, --teachers.cpus-per-actor or --teachers.gpus-per-actor, "
            "use a larger cluster, or --teachers.placement inline"
        )
    return replace(recipe, workers=(least, fitting)) if isinstance(recipe.workers, tuple) else recipe


def capacity(recipe: Recipe, limits: Limits) -> int:
    """How many of the recipe's workers fit on the cluster at its maximum size, without remote teachers."""
    present, added = limits.nodes(nodes())
    largest = sorted((fit(node, recipe) for node in added), reverse=True)[: limits.total]
    return sum(fit(node, recipe) for node in present) + sum(largest)


def concurrent_runs(recipe: Recipe) -> int:
    """How many runs of a recipe with fixed workers fit on the cluster after scaling up; at least 1."""
    return max(1, capacity(recipe, Limits.read()) // workers_of(recipe)[0])


def workers_that_fit(cluster: list[Node], recipe: Recipe, most: int) -> int:
    """How many workers, at most `most`, fit on the nodes along with their actors under every placement.

    The autoscaler's limit over all types of nodes is ignored, as it depends on the placement which of them are started.
    """
    beside = [0] + [-1] * most  # by number of workers: how many actors fit beside them; -1: none
    for node in cluster:
        on_node = _actors_beside_workers(node, recipe, most)
        beside = [
            max((beside[w - v] + on_node[v] for v in range(min(w + 1, len(on_node))) if beside[w - v] >= 0), default=-1)
            for w in range(most + 1)
        ]
    return max(w for w in range(most + 1) if beside[w] >= w * actors_of(recipe))


def _actors_beside_workers(node: Node, recipe: Recipe, most: int) -> list[int]:
    """By number of workers on a node, from 0: how many actors fit in addition."""
    actor, worker = per_actor(recipe), per_worker(recipe)
    actors = []
    for count in range(min(fit(node, recipe), most) + 1):
        left = {name: node.resources.get(name, 0.0) - count * worker.get(name, 0.0) for name in actor}
        actors.append(int(min(left[name] / amount for name, amount in actor.items()) + 1e-9))
    return actors


def fit(node: Node, recipe: Recipe) -> int:
    """How many of the recipe's workers fit on a node."""
    if any(node.labels.get(key) != value for key, value in labels_of(recipe).items()):
        return 0
    return int(min(node.resources.get(name, 0.0) // amount for name, amount in per_worker(recipe).items()))


def nodes() -> list[Node]:
    """The nodes that are alive, with their total resources."""
    import ray

    return [_node(entry, entry["Resources"]) for entry in ray.nodes() if entry["Alive"]]


def _node(entry: dict[str, Any], resources: dict[str, float]) -> Node:
    return Node(resources, entry.get("Labels") or {}, "node:__internal_head__" in entry["Resources"])


def waiting(recipe: Recipe) -> str:
    """What the recipe's workers are waiting for, as one line; empty if they are not waiting."""
    import ray

    least, _ = workers_of(recipe)
    alive = nodes()
    if not _pending(recipe) and sum(fit(node, recipe) for node in alive) >= least:
        return ""
    free = free_resources()
    entries = [entry for entry in ray.nodes() if entry["Alive"]]
    fitting = sum(fit(_node(entry, free.get(entry["NodeID"], {})), recipe) for entry in entries)
    coming = Limits.read().in_words(alive)
    return f"waiting for {least} worker(s) of {needs(recipe)}: {len(alive)} node(s), room for {fitting} now{coming}"


def _pending(recipe: Recipe) -> bool:
    """Whether a placement group of such workers is still pending."""
    from ray.util import placement_group_table

    bundle_needed = per_worker(recipe)
    groups = [group for group in placement_group_table().values() if group["state"] in ("PENDING", "RESCHEDULING")]
    return any(bundle == bundle_needed for group in groups for bundle in group["bundles"].values())


def waiting_for_actor(recipe: Recipe, rank: int) -> str:
    """What a worker is waiting for while its actor has not answered yet, as one line."""
    alive = nodes()
    coming = Limits.read().in_words(alive)
    resources = _words(per_actor(recipe), [])
    return f"worker {rank} is waiting for a remote teacher, which needs {resources}: {len(alive)} node(s){coming}"

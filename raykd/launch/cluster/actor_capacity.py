"""Whether a cluster has the capacity for a run's workers together with the actors of their remote teachers."""

from dataclasses import replace

from raykd import UserError
from raykd.launch.cluster import connection
from raykd.launch.cluster.autoscaler import Limits, Node
from raykd.recipe import Recipe


def actors_of(recipe: Recipe) -> int:
    """Number of actors of each worker."""
    teachers = recipe.teachers
    return teachers.actors if teachers.placement == "remote" and teachers.sources else 0


def options(recipe: Recipe) -> dict[str, float]:
    """Ray options of one actor."""
    return {"num_cpus": recipe.teachers.cpus_per_actor, "num_gpus": recipe.teachers.gpus_per_actor}


def needs(recipe: Recipe) -> str:
    """One actor's resources as text."""
    return ", ".join(f"{amount:g} {name}" for name, amount in _per_actor(recipe).items())


def bounded(recipe: Recipe) -> Recipe:
    """The recipe; in an elastic run with at most as many workers as fit on the cluster along with their actors.

    Ray would grow the group until no CPU is left. Raises UserError if even the minimum can never fit. With several
    types of nodes the limit over all types is ignored, as it depends on the placement which of them are started.
    """
    least, most = connection.workers_of(recipe)
    limits = Limits.read()
    if not actors_of(recipe) or not limits.known:
        return recipe
    there, added = limits.nodes(connection.nodes())
    fitting = workers_that_fit(there + added, recipe, most)
    if fitting < least:
        grown = " even if the autoscaler adds all its nodes" if limits.types else ""
        raise UserError(
            f"teachers.placement: {least} worker(s) of {connection.needs(recipe)}, each with "
            f"{actors_of(recipe)} actor(s) of {needs(recipe)}, can never run here: there is room for {fitting}{grown}; "
            "lower --workers, --teachers.actors, --teachers.cpus-per-actor or --teachers.gpus-per-actor, "
            "use a larger cluster, or --teachers.placement inline"
        )
    return replace(recipe, workers=(least, fitting)) if isinstance(recipe.workers, tuple) else recipe


def workers_that_fit(nodes: list[Node], recipe: Recipe, most: int) -> int:
    """How many workers, at most `most`, fit on the nodes along with their actors under every placement."""
    actors = actors_of(recipe)
    beside = [0] + [-1] * most  # by number of workers: how many actors fit beside them; -1: none
    for node in nodes:
        here = _mixes(node, recipe, most)
        beside = [
            max((beside[w - v] + here[v] for v in range(min(w + 1, len(here))) if beside[w - v] >= 0), default=-1)
            for w in range(most + 1)
        ]
    return max(w for w in range(most + 1) if beside[w] >= w * actors)


def waiting(recipe: Recipe, rank: int) -> str:
    """What a worker is waiting for while its actor has not answered yet, as one line."""
    nodes = connection.nodes()
    coming = Limits.read().in_words(nodes)
    return f"worker {rank} is waiting for a remote teacher, which needs {needs(recipe)}: {len(nodes)} node(s){coming}"


def _per_actor(recipe: Recipe) -> dict[str, float]:
    amounts = {"CPU": float(recipe.teachers.cpus_per_actor), "GPU": recipe.teachers.gpus_per_actor}
    return {name: amount for name, amount in amounts.items() if amount}


def _mixes(node: Node, recipe: Recipe, most: int) -> list[int]:
    """By number of workers on a node, from 0: how many actors fit in addition."""
    actor, worker = _per_actor(recipe), connection.per_worker(recipe)
    actors = []
    for count in range(min(connection.fit(node, recipe), most) + 1):
        left = {name: node.resources.get(name, 0.0) - count * worker.get(name, 0.0) for name in actor}
        actors.append(int(min(left[name] / amount for name, amount in actor.items()) + 1e-9))
    return actors

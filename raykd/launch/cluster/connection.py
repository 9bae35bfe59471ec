"""Ray itself: started quietly where there is none, joined where there is; whether it can place a run, now or ever."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.launch.cluster.autoscaler import Limits, Node
from raykd.launch.cluster.ray_internals import draining_nodes, free_resources, own_process_group
from raykd.launch.cluster.signals import at_once
from raykd.recipe import Recipe

# Read by Ray when it is imported or when Train starts; what a user sets himself stays.
QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's handler of SIGTERM would wait for so long for Ray Serve, which is not used.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}


@contextmanager
def connected() -> Iterator[None]:
    """Inside: a Ray cluster. One that was started here ends with it."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    # Ray itself asks for a token where it starts a cluster, and shows one where there is one. RAY_AUTH_MODE=token would
    # come too late here for the Ray that a recipe with a search has imported.
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False, "configure_logging": True}
    options |= {} if inside_cluster() else {"include_dashboard": False}
    _expect_head()
    try:
        with own_process_group():
            ray.init(**options)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(f"can't join the Ray cluster at {os.environ.get('RAY_ADDRESS', 'auto')}: {error}") from None
    tighten_token()
    try:
        with at_once():
            yield
    finally:
        ray.shutdown()


def _expect_head() -> None:
    """Raise UserError where nobody listens at the HOST:PORT that Ray would join; Ray itself would try for minutes."""
    address, cure = os.environ.get("RAY_ADDRESS", ""), "correct or unset RAY_ADDRESS"
    if not address and _current_cluster().is_file():
        address = _current_cluster().read_text(encoding="utf-8", errors="replace").strip()
        cure = f"its head has died: remove {_current_cluster()}"
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=15).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {address} ({error}): {cure}") from None


def inside_cluster() -> bool:
    """Whether Ray will join a cluster rather than start one: named by RAY_ADDRESS, or running on this machine."""
    return bool(os.environ.get("RAY_ADDRESS")) or _current_cluster().is_file()


def _current_cluster() -> Path:
    """Where Ray notes the head that was started on this machine."""
    # Not through Ray's own function: Ray reads its environment when imported, and what to put there depends on this.
    return Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")


def inside_job() -> bool:
    """Whether this process is the driver of a Ray job, whose current folder is a copy that is thrown away."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def token_file() -> str:
    """Where Ray keeps this user's token."""
    return os.path.expanduser(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token"))


def has_token() -> bool:
    """Whether there is a token to show to a cluster."""
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or os.path.isfile(token_file())


def tighten_token() -> None:
    """Ray writes its token readable by everyone; make it the user's own."""
    path = token_file()
    if os.path.isfile(path) and os.stat(path).st_uid == os.getuid():
        os.chmod(path, 0o600)


def on_this_node() -> Any:
    """Scheduling strategy of an actor that must outlive the worker nodes: it stays on the driver's node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def workers_of(recipe: Recipe) -> tuple[int, int]:
    """Least and most workers."""
    return recipe.workers if isinstance(recipe.workers, tuple) else (recipe.workers, recipe.workers)


def per_worker(recipe: Recipe) -> dict[str, float]:
    """Ray resources of one worker."""
    resources = {"CPU": float(recipe.cpus_per_worker)}
    if recipe.gpus_per_worker:
        resources["GPU"] = float(recipe.gpus_per_worker)
    if recipe.accelerator_type:
        resources[f"accelerator_type:{recipe.accelerator_type}"] = 0.001
    return resources


def labels_of(recipe: Recipe) -> dict[str, str]:
    """Ray's label selector of the nodes that a recipe's workers need; raises UserError."""
    for label in recipe.node_labels:
        if label.count("=") != 1 or not all(label.split("=")):
            raise UserError(f"node_labels: {label!r} is not of the form KEY=VALUE")
    return dict(label.split("=") for label in recipe.node_labels)


def check_room(recipe: Recipe) -> None:
    """Raise UserError where the cluster, an autoscaler's limits included, can never place the recipe's least workers.

    Ray itself would wait for ever without a word.
    """
    least, _ = workers_of(recipe)
    limits = Limits.read()
    if not limits.known:
        return
    room = sum(fit(node, recipe) for node in limits.most(nodes(), lambda node: fit(node, recipe)))
    if room >= least:
        return
    grown = " even when the autoscaler has added all it may" if limits.types else ""
    raise UserError(
        f"workers: {least} worker(s) of {needs(recipe)} each can never run here: there is room for {room}{grown}; "
        "lower --workers, --cpus-per-worker or --gpus-per-worker, or use a larger cluster"
    )


def needs(recipe: Recipe) -> str:
    """One worker's resources and labels in words."""
    amounts = [name if ":" in name else f"{amount:g} {name}" for name, amount in per_worker(recipe).items()]
    return ", ".join(amounts + [f"label {label}" for label in recipe.node_labels])


def nodes() -> list[Node]:
    """The nodes that are alive, with what they have in all."""
    import ray

    return [_node(node, node["Resources"]) for node in ray.nodes() if node["Alive"]]


def _node(entry: dict[str, Any], resources: dict[str, float]) -> Node:
    return Node(resources, entry.get("Labels") or {}, "node:__internal_head__" in entry["Resources"])


def fit(node: Node, recipe: Recipe) -> int:
    """How many of the recipe's workers a node has room for."""
    if any(node.labels.get(key) != value for key, value in labels_of(recipe).items()):
        return 0
    return int(min(node.resources.get(name, 0.0) // amount for name, amount in per_worker(recipe).items()))


def waiting(recipe: Recipe) -> str:
    """What the recipe's workers wait for, in a line; empty where they don't."""
    import ray

    least, _ = workers_of(recipe)
    alive = nodes()
    if not _pending(recipe) and sum(fit(node, recipe) for node in alive) >= least:
        return ""
    free = free_resources()
    entries = [node for node in ray.nodes() if node["Alive"]]
    room = sum(fit(_node(entry, free.get(entry["NodeID"], {})), recipe) for entry in entries)
    coming = Limits.read().in_words(alive)
    return f"waiting for {least} worker(s) of {needs(recipe)}: {len(alive)} node(s), room for {room} now{coming}"


def _pending(recipe: Recipe) -> bool:
    """Whether a placement group of such workers has no place yet."""
    from ray.util import placement_group_table

    wanted = per_worker(recipe)
    groups = [group for group in placement_group_table().values() if group["state"] in ("PENDING", "RESCHEDULING")]
    return any(bundle == wanted for group in groups for bundle in group["bundles"].values())


class Drains:
    """Nodes that the cluster is about to take away (a spot machine's notice, an autoscaler going down).

    The driver asks, once for all. Ray Train 2.60's own `get_preemption_info` is a collective of all workers, to be
    called at the same steps; its watcher looks every 5 s, and its controller ends the workers by itself.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    def new(self) -> bool:
        """Whether there is one that was not there before."""
        known, self._known = self._known, draining_nodes()
        return bool(self._known - known)

"""Connects to Ray: joins a running cluster or starts a local one; checks whether it can place a run."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.launch.cluster.autoscaler import Limits, Node
from raykd.launch.cluster.ray_internals import free_resources, own_process_group
from raykd.launch.cluster.signals import at_once
from raykd.recipe import Recipe

# Ray reads these when it is imported or when Train starts; values set by the user take precedence.
QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray's SIGTERM handler would wait this long for Ray Serve, which is not used.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}


@contextmanager
def connected() -> Iterator[None]:
    """Context with a Ray cluster; one that was started here is shut down at the end.

    Raises UserError if the cluster that RAY_ADDRESS names can't be joined.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    # Ray requires a token when it starts a cluster, and sends one if there is one. RAY_AUTH_MODE=token would
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
    """Raise UserError if nothing listens at the HOST:PORT that Ray would join; Ray itself would retry for minutes."""
    address, cure = os.environ.get("RAY_ADDRESS", ""), "correct or unset RAY_ADDRESS"
    if not address and _current_cluster().is_file():
        address = _current_cluster().read_text(encoding="utf-8", errors="replace").strip()
        cure = f"its head node is gone; remove {_current_cluster()}"
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
    """Ray's record of the head that was started on this machine."""
    # Not by Ray's own function: Ray reads its environment at import, and what to set there depends on the result.
    return Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")


def inside_job() -> bool:
    """Whether this process is the driver of a Ray job, whose working directory is a temporary copy."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def token_file() -> str:
    """Path of this user's Ray token."""
    return os.path.expanduser(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token"))


def has_token() -> bool:
    """Whether there is a token for a cluster."""
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or os.path.isfile(token_file())


def tighten_token() -> None:
    """Make Ray's token file readable by its owner only; Ray itself writes it readable by everyone."""
    path = token_file()
    if os.path.isfile(path) and os.stat(path).st_uid == os.getuid():
        os.chmod(path, 0o600)


def on_this_node() -> Any:
    """Scheduling strategy for an actor that must outlive the worker nodes: it runs on the driver's node."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def workers_of(recipe: Recipe) -> tuple[int, int]:
    """Minimum and maximum number of workers."""
    return recipe.workers if isinstance(recipe.workers, tuple) else (recipe.workers, recipe.workers)


def per_worker(recipe: Recipe) -> dict[str, float]:
    """The Ray resources of one worker."""
    resources = {"CPU": float(recipe.cpus_per_worker)}
    if recipe.gpus_per_worker:
        resources["GPU"] = float(recipe.gpus_per_worker)
    if recipe.accelerator_type:
        resources[f"accelerator_type:{recipe.accelerator_type}"] = 0.001
    return resources


def labels_of(recipe: Recipe) -> dict[str, str]:
    """Ray's label selector for a recipe's workers; raises UserError for a malformed label."""
    for label in recipe.node_labels:
        if label.count("=") != 1 or not all(label.split("=")):
            raise UserError(f"node_labels: {label!r} is not of the form KEY=VALUE")
    return dict(label.split("=") for label in recipe.node_labels)


def check_capacity(recipe: Recipe) -> None:
    """Raise UserError if the cluster can never place the recipe's minimum of workers, even after scaling up.

    Ray itself would wait forever without a message.
    """
    least, _ = workers_of(recipe)
    limits = Limits.read()
    if not limits.known:
        return
    fitting = capacity(recipe, limits)
    if fitting >= least:
        return
    grown = " even if the autoscaler adds all its nodes" if limits.types else ""
    raise UserError(
        f"workers: {least} worker(s) of {needs(recipe)} each can never run here: there is room for {fitting}{grown}; "
        "lower --workers, --cpus-per-worker or --gpus-per-worker, or use a larger cluster"
    )


def capacity(recipe: Recipe, limits: Limits) -> int:
    """How many of the recipe's workers fit on the cluster at its maximum size."""
    there, added = limits.nodes(nodes())
    largest = sorted((fit(node, recipe) for node in added), reverse=True)[: limits.total]
    return sum(fit(node, recipe) for node in there) + sum(largest)


def needs(recipe: Recipe) -> str:
    """One worker's resources and labels as text."""
    amounts = [name if ":" in name else f"{amount:g} {name}" for name, amount in per_worker(recipe).items()]
    return ", ".join(amounts + [f"label {label}" for label in recipe.node_labels])


def nodes() -> list[Node]:
    """The nodes that are alive, with their total resources."""
    import ray

    return [_node(node, node["Resources"]) for node in ray.nodes() if node["Alive"]]


def _node(entry: dict[str, Any], resources: dict[str, float]) -> Node:
    return Node(resources, entry.get("Labels") or {}, "node:__internal_head__" in entry["Resources"])


def fit(node: Node, recipe: Recipe) -> int:
    """How many of the recipe's workers fit on a node."""
    if any(node.labels.get(key) != value for key, value in labels_of(recipe).items()):
        return 0
    return int(min(node.resources.get(name, 0.0) // amount for name, amount in per_worker(recipe).items()))


def waiting(recipe: Recipe) -> str:
    """What the recipe's workers are waiting for, as one line; empty if they are not waiting."""
    import ray

    least, _ = workers_of(recipe)
    alive = nodes()
    if not _pending(recipe) and sum(fit(node, recipe) for node in alive) >= least:
        return ""
    free = free_resources()
    entries = [node for node in ray.nodes() if node["Alive"]]
    fitting = sum(fit(_node(entry, free.get(entry["NodeID"], {})), recipe) for entry in entries)
    coming = Limits.read().in_words(alive)
    return f"waiting for {least} worker(s) of {needs(recipe)}: {len(alive)} node(s), room for {fitting} now{coming}"


def _pending(recipe: Recipe) -> bool:
    """Whether a placement group of such workers is still pending."""
    from ray.util import placement_group_table

    bundle_needed = per_worker(recipe)
    groups = [group for group in placement_group_table().values() if group["state"] in ("PENDING", "RESCHEDULING")]
    return any(bundle == bundle_needed for group in groups for bundle in group["bundles"].values())

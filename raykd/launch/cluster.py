"""Ray itself: started quietly where there is none, joined where there is; and whether it can ever place a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from raykd import UserError
from raykd.recipe import Recipe

# Read by Ray when it is imported or when Train starts; what a user sets himself stays.
QUIET = {
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AUTH_MODE": "token",
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
    joining = inside_cluster()
    options = {} if joining else {"include_dashboard": False}
    try:
        ray.init(logging_level="ERROR", log_to_driver=False, configure_logging=True, **options)
    except (ConnectionError, RuntimeError) as error:
        raise UserError(f"can't join the Ray cluster at {os.environ.get('RAY_ADDRESS', 'auto')}: {error}") from None
    tighten_token()
    try:
        yield
    finally:
        ray.shutdown()


def inside_cluster() -> bool:
    """Whether Ray will join a cluster rather than start one: named by RAY_ADDRESS, or running on this machine."""
    from ray._private.utils import read_ray_address

    return bool(os.environ.get("RAY_ADDRESS") or read_ray_address())


def tighten_token() -> None:
    """Ray writes its token readable by everyone; make it the user's own."""
    path = os.path.expanduser(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token"))
    if os.path.isfile(path) and os.stat(path).st_uid == os.getuid():
        os.chmod(path, 0o600)


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


def check_room(recipe: Recipe) -> None:
    """Raise UserError where the cluster, an autoscaler's limits included, can never place the recipe's least workers.

    Ray itself would wait for ever without a word.
    """
    least, most = workers_of(recipe)
    wanted = per_worker(recipe)
    room = sum(_fit(node, wanted) for node in nodes_possible())
    if room >= least:
        return
    needs = ", ".join(f"{amount:g} {name}" for name, amount in wanted.items())
    raise UserError(
        f"workers: {least} worker(s) of {needs} each can never run here, there is room for {int(room)}; "
        "lower --workers, --cpus-per-worker or --gpus-per-worker, or use a larger cluster"
    )


def nodes_possible() -> list[dict[str, float]]:
    """Resources of every node that there is or that the autoscaler may add."""
    import ray

    here = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return here + _nodes_to_come(here)


def _nodes_to_come(here: list[dict[str, float]]) -> list[dict[str, float]]:
    """Nodes that the autoscaler's configuration allows for besides those alive."""
    from ray._private.state import state

    config = state.get_cluster_config()
    if config is None:
        return []
    found = []
    for group in config.node_group_configs:
        limit = group.max_count if group.max_count >= 0 else 1000
        found += [dict(group.resources)] * min(limit, 1000)
    return found


def _fit(node: dict[str, float], wanted: dict[str, float]) -> int:
    return int(min(node.get(name, 0.0) // amount for name, amount in wanted.items()))

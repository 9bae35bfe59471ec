"""Connects to Ray: joins a running cluster or starts a local one."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.launch.cluster.ray_internals import own_process_group
from raykd.launch.cluster.signals import at_once

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

"""What Ray's autoscaler may still add. Ray has no API for its limits: they are read from the head's configuration."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Node:
    """A node, existing or possible, as far as placement depends on it."""

    resources: dict[str, float]
    labels: dict[str, str]
    head: bool = False


@dataclass(frozen=True)
class Limits:
    """known: False if there is an autoscaler whose limits can't be read, e.g. on Kubernetes.

    $RAYKD_NODE_TYPES can give them as JSON in the format of `ray up`: available_node_types and max_workers.
    """

    known: bool = True
    types: tuple[tuple[Node, int], ...] = ()  # a node type's resources and labels, and how many there may be
    total: int = field(default=0)  # over all types

    @staticmethod
    def read() -> "Limits":
        """Limits of the cluster that this process has joined; no types if it has no autoscaler."""
        if os.environ.get("RAYKD_NODE_TYPES"):
            return _limits(json.loads(os.environ["RAYKD_NODE_TYPES"]))
        if os.environ.get("KUBERNETES_SERVICE_HOST") and os.environ.get("RAY_CLUSTER_NAME"):
            return Limits(known=False)
        path = _config_path()
        return _limits(yaml.safe_load(path.read_text(encoding="utf-8"))) if path is not None else Limits()

    def nodes(self, alive: list[Node]) -> tuple[list[Node], list[Node]]:
        """The nodes that stay, and of each type as many as the autoscaler may run; of these at most `total` at once.

        With an autoscaler, every node but the head belongs to it.
        """
        if not self.types:
            return alive, []
        added = [node for node, limit in self.types for _ in range(min(limit, self.total))]
        return [node for node in alive if node.head], added

    def in_words(self, alive: list[Node]) -> str:
        """What the autoscaler can add, as the end of a message; empty if there is no autoscaler."""
        if not self.known:
            return "; the cluster's autoscaler decides on more"
        if not self.types:
            return ""
        left = self.total - sum(not node.head for node in alive)
        return f"; the autoscaler may add {max(0, left)} node(s)"


def _limits(config: dict) -> Limits:
    types, head = [], config.get("head_node_type")
    for name, kind in config.get("available_node_types", {}).items():
        limit = kind.get("max_workers", 0 if name == head else config["max_workers"])
        types.append((Node(kind.get("resources", {}), kind.get("labels", {})), limit))
    types = [(node, limit) for node, limit in types if limit > 0]
    return Limits(types=tuple(types), total=min(config["max_workers"], sum(limit for _, limit in types)))


def _config_path() -> Path | None:
    """The configuration file of the head's monitor on this node, from `ray up` or `ray start --autoscaling-config`."""
    import ray

    address = f"--gcs-address={ray.get_runtime_context().gcs_address}"
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended, or is another user's
            continue
        if address in words:
            for word in words:
                if word.startswith("--autoscaling-config="):
                    path = Path(word.partition("=")[2]).expanduser()
                    return path if path.is_file() else None
    return None

"""Checkpoint before preemption: at a notice that a node is being drained, and at SIGTERM to a worker process.

Ray Train 2.60 has `get_preemption_info` for training functions, which raykd can't use: it is a barrier, which all
workers must call equally often; its watcher polls every 5 s; after the notice Train's controller waits for the node's
deadline instead of letting the driver decide; and it hears of drained nodes only, not of a signal to a process.
"""

import signal
import threading
from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

from raykd.launch.cluster.ray_internals import draining_nodes

STATUS = 143  # 128 + SIGTERM

terminated = threading.Event()


def listen() -> None:
    """Turn SIGTERM into `terminated`; must run in a worker's main thread, as signal handlers do."""
    signal.signal(signal.SIGTERM, lambda number, frame: terminated.set())


class Backend(_TorchBackend):
    """Ray's torch backend, whose workers also listen for SIGTERM."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(listen)
        super().on_start(worker_group, backend_config)


class Config(TorchConfig):
    """TorchConfig with that backend."""

    @property
    def backend_cls(self) -> type:
        return Backend


class Drains:
    """Nodes that are being drained (a spot machine's notice, an autoscaler scaling down); the driver polls it."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def new(self) -> bool:
        """Whether a node has begun draining since the last call."""
        known, self._known = self._known, draining_nodes()
        return bool(self._known - known)

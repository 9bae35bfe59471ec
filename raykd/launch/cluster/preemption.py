"""Checkpoint before preemption: a worker process gets SIGTERM at a spot machine's notice or a node's shutdown.

Ray Train 2.60 reports draining nodes to the workers (see connection.Drains), but not a signal to the process.
"""

import signal
import threading
from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

STATUS = 143  # 128 + SIGTERM

asked = threading.Event()


def listen() -> None:
    """Turn SIGTERM into `asked`; must run in a worker's main thread, as signal handlers do."""
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())


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

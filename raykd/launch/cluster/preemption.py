"""A worker process that is told to go (SIGTERM: a spot machine's notice, a node's shutdown): a checkpoint first.

Ray Train 2.60 tells workers of nodes that drain, not of a signal to the process (see connection.Drains for its own).
"""

import signal
import threading
from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

STATUS = 143  # 128 + SIGTERM

asked = threading.Event()


def listen() -> None:
    """Turn SIGTERM into `asked`; runs in a worker's main thread, as only that may."""
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())


class Backend(_TorchBackend):
    """Ray's backend for torch, whose workers also listen."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        worker_group.execute(listen)
        super().on_start(worker_group, backend_config)


class Config(TorchConfig):
    """TorchConfig with that backend."""

    @property
    def backend_cls(self) -> type:
        return Backend

"""A checkpoint before a worker's preemption, at SIGTERM to its process; the driver watches for drained nodes.

Ray Train 2.60 has `get_preemption_info` for training functions, which raykd can't use: it is a barrier, which all
workers must call equally often; its watcher polls every 5 s; after the notice Train's controller waits for the node's
deadline instead of letting the driver decide; and it hears of drained nodes only, not of a signal to a process.
"""

import signal
import threading
from typing import Any

from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

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

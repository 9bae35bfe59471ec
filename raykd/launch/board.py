"""What a run's driver and its workers tell each other: progress one way, the wish to stop and W&B's key the other."""

import threading
from typing import Any

import ray


@ray.remote(num_cpus=0)
class Board:
    """A tiny actor on the driver's node; it holds the newest progress, whether the run should stop, and W&B's key."""

    def __init__(self):
        self._progress: dict[str, Any] = {}
        self._stop = False
        self._key = ""

    def keep_key(self, key: str) -> None:
        """Hold W&B's key for the worker that logs. Constructor arguments would stand in the cluster's tables."""
        self._key = key

    def key(self) -> str:
        return self._key

    def post(self, progress: dict[str, Any]) -> bool:
        """Take the worker's progress; answers whether it should stop."""
        self._progress |= progress
        return self._stop

    def look(self) -> dict[str, Any]:
        return self._progress

    def ask_to_stop(self) -> None:
        self._stop = True


class Messenger:
    """The worker's side: posts the newest progress every second from a thread, and hears whether to stop."""

    def __init__(self, board: Any, seconds: float = 1.0):
        self.stop_wanted = threading.Event()
        self._board, self._seconds = board, seconds
        self._latest: dict[str, Any] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._post, name="board-messenger", daemon=True)
        self._thread.start()

    def tell(self, **progress: Any) -> None:
        self._latest = self._latest | progress

    def close(self) -> None:
        """Post what is left and end the thread."""
        self._ended.set()
        self._thread.join()
        ray.get(self._board.post.remote(self._latest))

    def _post(self) -> None:
        while not self._ended.wait(self._seconds):
            if ray.get(self._board.post.remote(self._latest)):
                self.stop_wanted.set()

"""What a run's driver and its workers tell each other: progress and failures, wishes and W&B's key."""

import os
import socket
import sys
import threading
import time
from typing import Any

import ray
from ray.train import UserCallback

from raykd.launch.cluster import preemption
from raykd.launch.cluster.failure import Size, explain, preempted

# Frames of these are passed over when a worker's place is told; in those below them, a worker waits for the others.
FOREIGN = ("torch", "numpy", "ray", "ffcv", "threading", "contextlib", "queue")
WAITING = ("torch.autograd.graph", "torch.distributed", "torch.nn.parallel.distributed")


@ray.remote(num_cpus=0)
class Board:
    """A tiny actor on the driver's node; it holds the newest progress, what the workers should do, and W&B's key."""

    def __init__(self, watched: bool = False):
        """watched: a driver looks at it all the time and ends the workers where one says that it can't go on."""
        self._watched = watched
        self._progress: dict[str, Any] = {}
        self._ranks: dict[int, dict[str, Any]] = {}
        self._stop, self._saves = False, 0
        self._losses, self._saved, self._told_to_go, self._lost = 0, -1, False, False
        self._key = ""

    def keep_key(self, key: str) -> None:
        """Hold W&B's key for the worker that logs. Constructor arguments would stand in the cluster's tables."""
        self._key = key

    def key(self) -> str:
        return self._key

    def post(self, rank: int, progress: dict[str, Any], place: dict[str, Any]) -> tuple[bool, int]:
        """Take a worker's progress; answers whether it should stop, and how many checkpoints have been asked for."""
        self._progress |= progress
        self._ranks[rank] = place | {"heard": time.monotonic()}
        return self._stop, self._saves

    def look(self) -> dict[str, Any]:
        return self._progress

    def places(self) -> dict[int, dict[str, Any]]:
        """By rank: host, pid, where it stood, whether it waited for others there, seconds since it was heard of."""
        now = time.monotonic()
        return {rank: place | {"silent": now - place["heard"]} for rank, place in sorted(self._ranks.items())}

    def fail(self, kind: str, line: str) -> bool:
        """Note that trying again is of no use; answers whether the driver will end the workers."""
        self._progress.setdefault("hopeless", (kind, line))
        return self._watched

    def note(self, line: str) -> None:
        """Tell the user a line."""
        self._progress["losses"] = (*self._progress.get("losses", ()), f"{time.strftime('%H:%M:%S')} {line}")

    def told_to_go(self, who: str) -> None:
        """Note that a worker is about to be taken away: the loss that follows counts for nothing."""
        self._told_to_go = True
        self.note(f"{who} was told to go (SIGTERM)")

    def lose(self, line: str, excused: bool, limit: int) -> bool:
        """Note a loss of workers; answers whether the run is given up, as the driver is told.

        Losses count since the newest checkpoint, so a run that gets on may lose workers for weeks; -1: for ever.
        """
        self.note(line)
        self._lost, saved = True, self._progress.get("saved", -1)
        self._losses = 0 if saved > self._saved else self._losses
        self._losses += not (excused or self._told_to_go)
        self._saved, self._told_to_go = saved, False
        if limit < 0 or self._losses <= limit:
            return False
        since = f"since the checkpoint of step {saved}" if saved >= 0 else "without a checkpoint between"
        return self.fail("failure", f"{line} (given up: {self._losses} failure(s) {since}, max_failures is {limit})")

    def going_on(self) -> bool:
        """Whether workers have trained before, so that those that ask now take over."""
        return self._lost or "step" in self._progress

    def ask_to_stop(self) -> None:
        self._stop = True

    def ask_to_save(self) -> None:
        self._saves += 1


class Messenger:
    """The worker's side: posts its progress and place every second from a thread, and hears what is wanted."""

    def __init__(self, board: Any, rank: int, seconds: float = 1.0):
        self.stop_wanted, self.save_wanted = threading.Event(), threading.Event()
        self._board, self._rank, self._seconds = board, rank, seconds
        self._latest: dict[str, Any] = {}
        self._saves, self._worker_thread = 0, threading.get_ident()
        self._about = {"host": socket.gethostname(), "pid": os.getpid()}
        self._place = ("nowhere", False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="board-messenger", daemon=True)
        self._thread.start()

    def tell(self, **progress: Any) -> None:
        self._latest = self._latest | progress

    def note(self, line: str) -> None:
        """Tell the user a line, from any rank."""
        self._board.note.remote(line)

    def fail(self, kind: str, line: str) -> None:
        """Say that the run can't go on; returns only where nobody watches, and the error must be raised."""
        if ray.get(self._board.fail.remote(kind, line)):
            threading.Event().wait(120)  # raising it would make Ray start the workers again

    def going_on(self) -> bool:
        """Whether this worker takes over from others, so that the run could be trained before."""
        return ray.get(self._board.going_on.remote())

    def close(self) -> None:
        """Post what is left and end the thread."""
        self._ended.set()
        self._thread.join()
        self._post(self._place)  # where it last stood in the training, not here

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._post(place_of(self._worker_thread))
            if preemption.asked.is_set():
                self._leave()

    def _post(self, place: tuple[str, bool]) -> None:
        self._place = place
        about = self._about | {"at": place[0], "waits": place[1]}
        stop, saves = ray.get(self._board.post.remote(self._rank, self._latest, about))
        if stop:
            self.stop_wanted.set()
        if saves > self._saves:
            self._saves = saves
            self.save_wanted.set()

    def _leave(self, seconds: float = 25.0) -> None:
        """This process is about to be taken away: have a checkpoint written, then go. Ray starts the workers again."""
        before = ray.get(self._board.look.remote()).get("saved", -1)
        ray.get(self._board.told_to_go.remote(f"worker {self._rank} on {self._about['host']}"))
        ray.get(self._board.ask_to_save.remote())
        until = time.monotonic() + seconds
        while time.monotonic() < until and ray.get(self._board.look.remote()).get("saved", -1) <= before:
            time.sleep(0.1)
            self._post(place_of(self._worker_thread))
        os._exit(preemption.STATUS)


def place_of(thread: int) -> tuple[str, bool]:
    """Where a thread stands ("file, line n, in function"), and whether it waits for other workers there."""
    frame = sys._current_frames().get(thread)
    waits = False
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in FOREIGN:
        waits = waits or frame.f_globals["__name__"].startswith(WAITING)
        frame = frame.f_back
    if frame is None:
        return "nowhere", waits
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}, in {frame.f_code.co_name}", waits


class Losses(UserCallback):
    """Runs in Train's controller: tells the board which workers were lost, before they are started again."""

    def __init__(self, board: Any, size: Size, limit: int):
        """limit: of losses without a newer checkpoint between them; -1: none."""
        self.board, self.size, self.limit = board, size, limit

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        places = ray.get(self.board.places.remote())
        line, excused = explain(worker_exceptions, places, self.size), preempted(worker_exceptions)
        if ray.get(self.board.lose.remote(line, excused, self.limit)):
            threading.Event().wait(120)  # the driver ends everything now; going on would start the workers again

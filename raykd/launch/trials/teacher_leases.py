"""Teachers that several drivers need: the one that holds a teacher's name trains it, the others wait for its end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from queue import Empty, SimpleQueue

from raykd import UserError
from raykd.storage import lease
from raykd.storage.folder import Folder
from raykd.storage.lease import RETRY


class TeacherLeases:
    """Leases on the names of teachers, until they have ended; a thread tries those again that another driver holds."""

    def __init__(self, storage: str, notify: Callable[[str], None]):
        self._storage, self._notify = storage, notify
        self._held: dict[str, ExitStack] = {}
        self._new: SimpleQueue[str] = SimpleQueue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, names: list[str]) -> None:
        """Take what is free now, and each of the others as soon as its driver releases it or is dead."""
        elsewhere = [name for name in names if not self._take(name, self._notify)]
        if elsewhere:
            self._thread = threading.Thread(target=self._retry, args=(elsewhere,), name="teachers", daemon=True)
            self._thread.start()

    def taken(self) -> Iterator[str]:
        """Names that were taken since the last call."""
        while True:
            try:
                yield self._new.get_nowait()
            except Empty:
                return

    def release(self, name: str) -> None:
        """Let others have a teacher that has ended; does nothing for a name that isn't held."""
        self._held.pop(name, ExitStack()).close()

    def close(self) -> None:
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        for name in list(self._held):
            self.release(name)

    def _take(self, name: str, notify: Callable[[str], None]) -> bool:
        stack = ExitStack()
        try:
            stack.enter_context(lease.held(Folder(self._storage) / name, notify))
        except lease.Held:
            return False
        self._held[name] = stack
        self._new.put(name)
        return True

    def _retry(self, names: list[str]) -> None:
        while names and not self._closing.wait(RETRY):
            names = [name for name in names if not self._is_taken_now(name)]

    def _is_taken_now(self, name: str) -> bool:
        try:
            return self._take(name, lambda line: None)
        except (OSError, UserError):  # the storage fails: it is tried again as long as the driver runs
            return False


@contextmanager
def teacher_leases(names: list[str], storage: str, notify: Callable[[str], None]) -> Iterator[TeacherLeases]:
    """Context in which no other driver trains a teacher whose name was taken here."""
    leases = TeacherLeases(storage, notify)
    try:
        leases.take(names)
        yield leases
    finally:
        leases.close()

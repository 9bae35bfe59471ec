"""A lease on a run's name for one driver at a time: a lock on this machine, and a heartbeat file on any storage.

Clocks of machines are never compared: a waiting process watches whether the file is touched.
"""

import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from raykd import UserError
from raykd.storage import atomic
from raykd.storage.folder import Folder

FILE = "lease.json"
BEAT = 10.0  # seconds between two heartbeats
RETRY = 3.0  # seconds between two tries of those who wait for a name
STALE = 45.0  # seconds without a heartbeat after which the holder counts as dead


class Held(UserError):
    """Another driver holds the name."""


@contextmanager
def held(run: Folder, notify: Callable[[str], None]) -> Iterator[str]:
    """Context that holds the run's name; gives the holder's token. Raises Held if another driver does."""
    run.create()
    with _alone_on_this_machine(run):
        _await_its_end(run, notify)
        token = _take(run)
        ended = threading.Event()
        beating = threading.Thread(target=_beat, args=(run, token, ended), name="lease", daemon=True)
        beating.start()
        try:
            yield token
        finally:
            ended.set()
            beating.join()
            if _holder(run).get("token") == token:
                run.delete(FILE)


def wait_until_free(run: Folder) -> None:
    """Return when no other driver holds the name."""
    while True:
        try:
            with held(run, lambda line: None):
                return
        except Held:
            time.sleep(RETRY)


def in_use(run: Folder) -> bool:
    """Whether a process of this machine holds the run's name; other machines are not checked.

    It only reads: trying the lock would refuse a process that takes it at that moment.
    """
    holder = _holder(run)
    return bool(holder) and holder["machine"] == machine() and _lives(holder)


@contextmanager
def _alone_on_this_machine(run: Folder) -> Iterator[None]:
    if run.local is None:
        yield
        return
    try:
        lock = os.open(run.local / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:  # a link, a folder, a file of somebody else
        raise UserError(f"can't lock {run} ({error.strerror}): remove {run.local / '.lock'}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise refusal(run, "of this machine") from None
    try:
        atomic.clear(run.local)
        yield
    finally:
        os.close(lock)


def _await_its_end(run: Folder, notify: Callable[[str], None]) -> None:
    """Return when nobody holds the lease; a holder that died without releasing it is waited for."""
    first = _holder(run)
    # On this machine the lock shows that the holder is gone; without locks, its process id shows it.
    if not first or (first["machine"] == machine() and (run.local is not None or not _lives(first))):
        return
    notify(f"{first['host']} held this run: waiting {STALE:.0f} s to see whether it is still running")
    began = time.monotonic()
    while time.monotonic() - began < STALE:
        time.sleep(1)
        now = _holder(run)
        if not now:
            return
        if (now["token"], now["beat"]) != (first["token"], first["beat"]):
            raise refusal(run, f"{now['pid']} on {now['host']}")


def refusal(run: Folder, who: str) -> Held:
    return Held(f"another process {who} is training {run} right now: wait for it, or give another --name")


def _holder(run: Folder) -> dict[str, Any]:
    """The holder of the lease; empty if there is none, or if the file is damaged."""
    try:
        holder = run.read_json(FILE)
    except (FileNotFoundError, UserError):
        return {}
    return holder if isinstance(holder, dict) and holder.keys() >= {"token", "machine", "host", "pid", "beat"} else {}


def _take(run: Folder) -> str:
    token = secrets.token_hex(8)
    _touch(run, token, 0)
    if run.local is None:
        time.sleep(1)  # if two took it at the same moment, the later write counts
        if holds(run, token) is False:
            raise refusal(run, "elsewhere")
    return token


def _touch(run: Folder, token: str, beat: int) -> None:
    pid = os.getpid()
    process = {"machine": machine(), "host": socket.gethostname(), "pid": pid, "started": _start_of(pid)}
    run.write(FILE, json.dumps({"token": token, **process, "beat": beat}))


def _beat(run: Folder, token: str, ended: threading.Event) -> None:
    """Touch the lease until the end, or until another driver has taken it; failures of storage are retried."""
    beat = 0
    while not ended.wait(BEAT):
        try:
            if not run.exists(FILE):  # the storage is unavailable, and the folder in its place must not be written to
                continue
            if _holder(run).get("token", token) != token:
                return
            beat += 1
            _touch(run, token, beat)
        except OSError:
            continue


def holds(run: Folder, token: str) -> bool:
    """Whether the token holds the lease; raises OSError if there is none or the storage fails."""
    run.read(FILE)
    return _holder(run).get("token") == token


def machine() -> str:
    """This machine and the process numbers that are valid on it: containers have their own."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def _lives(holder: dict[str, Any]) -> bool:
    """Whether a holder on this machine still runs; a later process may have its number."""
    started = _start_of(holder["pid"])
    # Leases of version 0.1.0 do not say when their process started.
    return started is not None and holder.get("started", started) == started


def _start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None if it has ended, or if its number is damaged."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            state, *numbers = file.read().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(numbers[18])

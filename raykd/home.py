"""Ensures a writable home and a short temporary folder, as torch, numba, Ray, W&B and raykd need them."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable

from raykd import UserError

LONGEST = 60  # characters of a temporary folder: sockets lie below it, and their paths have 107


def provide(notify: Callable[[str], None]) -> None:
    """Set HOME, TMPDIR and USER of this process if they are missing or unusable; `notify` is called for each.

    Raises UserError if no temporary folder can be written to.
    """
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:
        raise UserError("TMPDIR: neither it nor /tmp can be written to; set it to a folder that can") from None
    if len(temporary) > LONGEST and os.access("/tmp", os.W_OK):
        notify(f"note: TMPDIR {temporary} is too long for sockets; using /tmp")
        os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
    if not os.access(os.path.expanduser("~"), os.W_OK | os.X_OK):
        os.environ["HOME"] = _own_folder(os.path.join(tempfile.gettempdir(), f"raykd-home-{os.getuid()}"))
        notify(f"note: the home directory can't be written to; using {os.environ['HOME']} (set HOME for another)")
    if not {"LOGNAME", "USER", "LNAME", "USERNAME"} & os.environ.keys():
        os.environ["USER"] = f"user{os.getuid()}"  # some libraries require a name, and passwd may have no entry


def _own_folder(path: str) -> str:
    """A folder that only this user can read: the given one, or a new one if others have taken the name."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, mode=0o700)
    about = os.lstat(path)
    if about.st_uid == os.getuid() and stat.S_ISDIR(about.st_mode) and not about.st_mode & 0o077:
        return path
    return tempfile.mkdtemp(prefix="raykd-home-")

"""Ensures a writable home and a short temporary folder, as torch, numba, Ray, W&B and raykd need them."""

import os
import stat
import tempfile
from collections.abc import Callable

LONGEST = 60  # characters of a temporary folder: sockets lie below it, and their paths have 107


def provide(notify: Callable[[str], None]) -> None:
    """Set HOME, TMPDIR and USER of this process if they are missing or unusable; `notify` is called for each."""
    if len(tempfile.gettempdir()) > LONGEST and os.access("/tmp", os.W_OK):
        notify(f"note: TMPDIR {tempfile.gettempdir()} is too long for sockets; using /tmp")
        os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
    if not os.access(os.path.expanduser("~"), os.W_OK | os.X_OK):
        os.environ["HOME"] = os.path.join(tempfile.gettempdir(), f"raykd-home-{os.getuid()}")
        os.makedirs(os.environ["HOME"], mode=0o700, exist_ok=True)
        about = os.lstat(os.environ["HOME"])  # a name that others may have taken, as a link too
        if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode):
            os.environ["HOME"] = tempfile.mkdtemp(prefix="raykd-home-")
        notify(f"note: the home directory can't be written to; using {os.environ['HOME']} (set HOME for another)")
    if not {"LOGNAME", "USER", "LNAME", "USERNAME"} & os.environ.keys():
        os.environ["USER"] = f"user{os.getuid()}"  # who has no entry in passwd has no name, which some libraries want

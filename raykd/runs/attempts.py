"""Attempts at a run: whenever workers start, they claim its directory, so that only one attempt writes to it."""

import errno
import json
import secrets
import time
from typing import Any

from raykd import UserError
from raykd.runs.checkpoints.stamps import stamps
from raykd.storage.folder import Folder


class Superseded(RuntimeError):
    """A later attempt has started in this run directory, so this one must not write to it any more."""


def expect_there(run: Folder) -> None:
    """Raise FileNotFoundError if the directory is not visible: a lost mount leaves an empty folder."""
    if not run.exists("recipe.json"):
        raise FileNotFoundError(errno.ENOENT, "the run's directory is gone", run.location)


def claim(run: Folder, workers: int) -> str:
    """Record that workers start or restart, before they read anything; returns the attempt's token."""
    expect_there(run)
    attempts, checkpoints = attempts_of(run), stamps(run)
    step = checkpoints[-1].step if checkpoints else 0  # the newest checkpoint; a damaged one is skipped later
    token = secrets.token_hex(8)
    attempts.append({"token": token, "started": time.time(), "workers": workers, "step": step})
    run.write("attempts.json", json.dumps(attempts))
    return token


def attempts_of(run: Folder) -> list[dict[str, Any]]:
    """A record of each start of workers on the run; raises UserError if attempts.json is damaged."""
    attempts = run.read_json("attempts.json") if run.exists("attempts.json") else []
    if not isinstance(attempts, list) or not all(isinstance(one, dict) and "token" in one for one in attempts):
        raise UserError(f"{run}/attempts.json was changed or damaged: remove it, or restore it from a copy")
    return attempts


def expect_mine(run: Folder, token: str) -> None:
    """Raise Superseded if a later attempt than the token's has started, FileNotFoundError if storage is unavailable."""
    expect_there(run)
    if attempts_of(run)[-1:] and attempts_of(run)[-1]["token"] != token:
        raise Superseded(f"another process has taken over {run}, so this one stops")

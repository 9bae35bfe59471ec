"""Retries failing storage for some minutes, with one message."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE = 600.0  # seconds; enough to free a full disk or restore a mount
LONGEST_PAUSE = 30.0


def patiently(action: Callable[[], Result], what: str, notify: Callable[[str], None]) -> Result:
    """The result of `action`, retried with growing pauses while it raises OSError; after PATIENCE that is raised.

    what: the action, as the subject of a message, e.g. "writing result.json".
    """
    began, pause, reported = time.monotonic(), 0.5, False
    while True:
        try:
            result = action()
            break
        except OSError as error:
            if time.monotonic() - began + pause > PATIENCE:
                raise
            if not reported:
                notify(f"{what} fails ({reason(error)}); trying again for {PATIENCE / 60:.0f} minutes")
            reported = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    if reported:
        notify(f"{what} works again")
    return result


def reason(error: OSError) -> str:
    """The system's message for a failed file operation, without the number."""
    return error.strerror or (str(error) or type(error).__name__).splitlines()[0]

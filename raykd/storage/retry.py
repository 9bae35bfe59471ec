"""Storage that fails for a while: tried again, said once, given up after some minutes."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

PATIENCE = 600.0  # seconds; a full disk can be cleared and a mount brought back in that time
LONGEST_PAUSE = 30.0


def patiently(action: Callable[[], Result], what: str, say: Callable[[str], None], seconds: float = PATIENCE) -> Result:
    """What `action` returns, tried again with growing pauses while it raises OSError; after `seconds` that is raised.

    what: what the action does, as a line's subject, e.g. "writing result.json".
    """
    began, pause, said = time.monotonic(), 0.5, False
    while True:
        try:
            result = action()
            break
        except OSError as error:
            if time.monotonic() - began + pause > seconds:
                raise
            if not said:
                say(f"{what} fails ({reason(error)}); trying again for {seconds / 60:.0f} minutes")
            said = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    if said:
        say(f"{what} works again")
    return result


def reason(error: OSError) -> str:
    """What the system says of a failed file operation, without the number."""
    return error.strerror or (str(error) or type(error).__name__).splitlines()[0]

"""A worker's status, and why a run can't continue, as workers report them to their driver."""

import time
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class WorkerStatus:
    """The last reported status of one worker."""

    host: str
    pid: int
    at: str  # "file, line n, in function"
    waits: bool  # whether it waits for other workers
    seconds: float = 0.0  # seconds at this position
    reported: float = field(default_factory=time.monotonic)  # by the clock of the driver's node

    @property
    def silent(self) -> float:
        """Seconds since the last report; valid on the driver's node only."""
        return time.monotonic() - self.reported


@dataclass(frozen=True)
class Failure:
    """Why a run can't continue: the user's input, or a failure that a restart would only repeat."""

    kind: Literal["input", "failure"]
    line: str

"""Messages between a run's driver and its workers."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a run as last reported by rank 0."""

    phase: str = ""
    step: int | None = None  # None before the first logged step
    steps: int | None = None  # of the whole run
    epoch: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)  # of the last logged step
    line: Mapping[str, Any] | None = None  # the last line of metrics.jsonl
    saved: int = -1  # step of the newest checkpoint in storage; -1: none
    stopped: int | None = None  # step at which the run stopped on request
    notices: tuple[str, ...] = ()  # messages for the user, each shown once
    wandb_url: str = ""


@dataclass(frozen=True)
class Requests:
    """The driver's requests to the workers."""

    stop: bool = False
    saves: int = 0  # checkpoints requested so far


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


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything about a run that its driver shows or acts on."""

    progress: Progress = Progress()
    staging: Mapping[str, str] = field(default_factory=dict)  # by node: what is being copied there
    losses: tuple[str, ...] = ()  # one line for each loss of workers
    failure: Failure | None = None

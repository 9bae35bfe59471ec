"""What a run's driver and its workers tell each other."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How a run stands, as its first worker last told."""

    phase: str = ""
    step: int | None = None  # None before the first one that was logged
    steps: int | None = None  # of the whole run
    epoch: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)  # of the last logged step
    line: Mapping[str, Any] | None = None  # the last one of metrics.jsonl
    saved: int = -1  # step of the newest checkpoint in the storage; -1: none
    stopped: int | None = None  # step at which a requested stop was carried out
    notices: tuple[str, ...] = ()  # lines for the user, each shown once
    wandb_url: str = ""


@dataclass(frozen=True)
class WorkerStatus:
    """Where one worker was when it was last heard of."""

    host: str
    pid: int
    at: str  # "file, line n, in function"
    waits: bool  # for other workers
    stands: float = 0.0  # seconds that it has been there
    heard: float = field(default_factory=time.monotonic)  # on the clock of the driver's node

    @property
    def silent(self) -> float:
        """Seconds since then; to be asked on the driver's node."""
        return time.monotonic() - self.heard


@dataclass(frozen=True)
class Failure:
    """Why a run can't go on: the user's input, or a failure that a restart would only meet again."""

    kind: Literal["input", "failure"]
    line: str


@dataclass(frozen=True)
class Requests:
    """What the driver wants of the workers."""

    stop: bool = False
    saves: int = 0  # checkpoints asked for so far


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that a driver shows of a run and acts upon."""

    progress: Progress = Progress()
    staging: Mapping[str, str] = field(default_factory=dict)  # by node: what is being copied there
    losses: tuple[str, ...] = ()  # a line for each loss of workers
    failure: Failure | None = None

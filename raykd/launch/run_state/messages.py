"""Messages between a run's driver and its workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raykd.launch.cluster.status import Failure


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


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything about a run that its driver shows or acts on."""

    progress: Progress = Progress()
    staging: Mapping[str, str] = field(default_factory=dict)  # by node: what is being copied there
    losses: tuple[str, ...] = ()  # one line for each loss of workers
    failure: Failure | None = None

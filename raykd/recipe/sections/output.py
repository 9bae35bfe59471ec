"""A run's output: checkpoints, W&B, files for debugging."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from raykd.fields import MaxLen, MinLen, PositiveInt, Rule

is_project = re.compile(r"[^/\\#?%:\x00-\x1f]{1,128}").fullmatch
STEPS, MINUTES = r"(?P<steps>[1-9]\d{0,8}) steps?", r"(?P<minutes>(?!0+(\.0*)? )\d{1,6}(\.\d{0,6})?) minutes?"
EVERY = re.compile(f"never|{STEPS}|{MINUTES}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """When a run writes checkpoints, and how many it keeps."""

    every: Annotated[str, Rule('like "500 steps", "10 minutes" or "never"', lambda text: EVERY.fullmatch(text))] = (
        "10 minutes"
    )
    """Interval of checkpoints between evaluations, e.g. "500 steps" or "10 minutes"; "never": only at evaluations."""
    keep: PositiveInt = 2
    """Number of newest checkpoints to keep; the best by top-1 is kept in addition."""

    @property
    def interval(self) -> tuple[int, float]:
        """Steps and seconds between two checkpoints; 0 for the unit that is not used."""
        match = EVERY.fullmatch(self.every)
        assert match is not None  # the field's rule
        return int(match["steps"] or 0), 60.0 * float(match["minutes"] or 0)


@dataclass(frozen=True, kw_only=True)
class WandB:
    """How a run is logged to Weights & Biases."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto: online if there is a key and the server answers, else offline."""
    project: Annotated[str, Rule("of 1 to 128 characters without / \\ # ? % :", is_project)] = "raykd"
    """Name of the project at W&B."""
    entity: Annotated[str, MaxLen(128), Rule("without /", lambda text: "/" not in text)] = ""
    """User or team at W&B; empty: the default of the API key."""
    group: Annotated[str, MaxLen(128)] = ""
    """Group of the run at W&B; empty: none."""
    tags: tuple[Annotated[str, MinLen(1), MaxLen(64)], ...] = ()
    """Tags in addition to method, data set, student and seed."""


@dataclass(frozen=True, kw_only=True)
class Debug:
    """Files for debugging a failed run."""

    nan_dump: str = ""
    """Folder for a file that reproduces the step at which a loss is not finite (NaN or infinite); empty: none."""

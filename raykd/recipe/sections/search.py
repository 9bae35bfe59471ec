"""The search of `raykd tune`."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from raykd.fields import Count, Interval, NonNegativeInt, Positive, PositiveInt


@dataclass(frozen=True, kw_only=True)
class Simplex:
    """A search space of weights ≥ 0 that sum to `total`, uniformly distributed; its key is the fields' names, joined by
    commas."""

    total: Positive = 1.0
    """Sum of the weights."""


@dataclass(frozen=True, kw_only=True)
class When:
    """A search space that is used only in trials in which another searched field has one of some values."""

    field: str
    """Dotted name of the other field."""
    one_of: tuple[Any, ...]
    """Values of the other field for which this one is searched."""
    space: Any
    """A `ray.tune` search space."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search over the recipe's fields by Ray Tune."""

    space: dict[str, Any]
    """By dotted field name: a `ray.tune` search space, a `When`, or (names joined by commas) a `Simplex`."""
    samples: PositiveInt = 16
    """Number of trials, multiplied by the number of points of the grids; if only grids are searched, each point is one
    trial."""
    repeats: Count = 1
    """Number of trials with each choice of values, which have consecutive seeds; choices are compared by their mean."""
    metric: str = "top1"
    """Metric of the deployed network on the held-out part of the training split: top1, top5, loss, ece, or one of the
    recipe's metrics."""
    mode: Literal["max", "min"] = "max"
    """Whether the metric is maximised or minimised."""
    validation: Annotated[float, Interval(gt=0, lt=1)] = 0.1
    """Share of the training split that is held out for the metric, between 0 and 1; if `data.validation` is above 0, it
    is used instead."""
    scheduler: Any = None
    """A `ray.tune` scheduler without metric and mode; None: every trial runs to its end."""
    searcher: Any = None
    """A `ray.tune` searcher without metric, mode and space; None: random and grid."""
    max_concurrent: NonNegativeInt = 0
    """Maximum number of concurrent trials; 0: as many as fit on the cluster."""

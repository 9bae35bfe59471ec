"""Ranges and roles of recipe fields, stated beside each field. A leaf: it imports nothing of raykd.

`raykd.recipe.validate` reads them, the one place where every command checks a recipe. A range without an alias is
written out, as `Annotated[float, Interval(ge=0, lt=0.5)]`; a condition that is not an interval is a `Rule`. Besides,
every float of a recipe must be representable in float32.
"""

from collections.abc import Callable
from dataclasses import Field, dataclass, field
from typing import Annotated, Any

from annotated_types import Ge as Ge
from annotated_types import Gt as Gt
from annotated_types import Interval as Interval
from annotated_types import MaxLen as MaxLen
from annotated_types import MinLen as MinLen


@dataclass(frozen=True)
class Rule:
    """A condition on a field's value that is not an interval."""

    words: str
    """The condition in words, after "must be"."""
    holds: Callable[[Any], bool] = field(repr=False)
    """Returns whether a value meets the condition."""


ascending = Rule("in ascending order", lambda values: list(values) == sorted(values))
# Losses multiply by T² and divide by it.
squarable = Rule(
    "0 or from 1e-18 to 1e18 in magnitude, so that float32 can hold its square",
    lambda value: value == 0 or 1e-18 <= abs(value) <= 1e18,
)

distinct = Rule("different from one another", lambda values: len(set(values)) == len(values))

Positive = Annotated[float, Gt(0), squarable]
"""Above 0."""
NonNegative = Annotated[float, Ge(0), squarable]
"""0 or more."""
Probability = Annotated[float, Interval(ge=0, le=1)]
"""From 0 to 1."""
Fraction = Annotated[float, Interval(ge=0, lt=1)]
"""From 0 up to 1, 1 excluded."""
PositiveInt = Annotated[int, Interval(ge=1, lt=2**31)]
"""1 or more."""
NonNegativeInt = Annotated[int, Interval(ge=0, lt=2**31)]
"""0 or more."""
Count = Annotated[int, Interval(ge=1, le=256)]
"""A number of objects that each take memory, such as actors: 1 to 256."""
ClassNames = Annotated[tuple[str, ...], distinct]
"""Names of the classes 0, 1, …"""
Given = Annotated[str, MinLen(1)]
"""Text that may not be empty: an empty path would be the current folder."""
Threads = Annotated[int, Interval(ge=0, le=1024)]
"""CPU threads; 0: torch's own choice."""
MaxLoss = Annotated[float, Interval(ge=0, le=100)]
"""Percentage points of accuracy."""
Pixels = Annotated[int, Interval(ge=0, lt=2**16)]
"""A length in pixels; sides of images are stored in 16 bits."""
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
"""A seed below 2³²: steps are seeded with seed × 1,000,003 × 4,099 and more, which must stay below 2⁶⁴."""


def no_effect(default: Any) -> Any:
    """A field with this default that affects where and how a run executes or is logged, and never its result.

    Fingerprints omit such fields, reports compare runs that differ in them, and searches can't vary them.
    """
    return field(default=default, metadata={"affects_result": False})


def affects_result(each: Field) -> bool:
    """Whether runs that differ in this dataclass field can have different results."""
    return each.metadata.get("affects_result", True)

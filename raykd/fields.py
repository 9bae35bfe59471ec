"""Ranges and roles of recipe fields, stated beside each field. A leaf: it imports nothing of raykd.

The aliases below are read by `raykd.recipe.validate`, the one place where every command checks a recipe. A range that
none of them names is written out: `Annotated[float, Interval(ge=0, lt=0.5)]`. Every float of a recipe must be finite.
"""

from dataclasses import Field, field
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval, MinLen

__all__ = [
    "Fraction",
    "Ge",
    "Gt",
    "Interval",
    "MinLen",
    "NonNegative",
    "NonNegativeInt",
    "Positive",
    "PositiveInt",
    "Probability",
    "affects_result",
    "no_effect",
]

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Probability = Annotated[float, Interval(ge=0, le=1)]
Fraction = Annotated[float, Interval(ge=0, lt=1)]
"""A share that is never the whole."""
PositiveInt = Annotated[int, Interval(ge=1, lt=2**31)]
NonNegativeInt = Annotated[int, Interval(ge=0, lt=2**31)]


def no_effect(default: Any) -> Any:
    """A field that changes how a run is carried out, never its result: where, how fast, how it is logged.

    Fingerprints leave such fields out, reports compare runs that differ in them, and a search does not list them.
    """
    return field(default=default, metadata={"affects_result": False})


def affects_result(of: Field) -> bool:
    """Whether runs that differ in this dataclass field may differ in their results."""
    return of.metadata.get("affects_result", True)

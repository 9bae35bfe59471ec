"""Data sets, one dataclass each; importing them costs nothing."""

from raykd.data.sources.digits import Digits

ALL = (Digits,)

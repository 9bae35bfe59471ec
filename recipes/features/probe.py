"""A linear probe of the features that `match.py` has learned: only the last layer is trained.

raykd train features/probe
"""

from dataclasses import replace

from raykd.methods.linear_probe import LinearProbe
from raykd.models.config import Network
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(
    supervised,
    method=LinearProbe.Config(),
    student=Network(name="resnet8", weights="runs/features/match/student.safetensors#backbone"),
)

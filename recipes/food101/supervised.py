"""BiT ResNet-50 from scratch on Food-101, alone: the baseline of FunMatch's students in this folder.

    raykd train food101/supervised

Cost: as the fast student.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.data.config import Mixing
from raykd.methods.supervised import Supervised
from raykd.recipe import Teachers
from raykd.recipes.food101.fast import recipe as fast

recipe = replace(
    fast,
    method=Supervised.Config(),
    data=replace(fast.data, mixing=Mixing()),
    teachers=Teachers(),
)

"""BiT ResNet-50 from scratch on Oxford Flowers 102, alone: the baseline of FunMatch's students in this folder.

    raykd train flowers102/supervised

Cost: as the fast student.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.data.config import Mixing
from raykd.methods.supervised import Supervised
from raykd.recipe import Teachers
from raykd.recipes.flowers102.fast import recipe as fast

recipe = replace(
    fast,
    method=Supervised.Config(),
    data=replace(fast.data, mixing=Mixing()),
    teachers=Teachers(),
)

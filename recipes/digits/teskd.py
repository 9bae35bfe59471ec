"""Students help the teacher (TESKD, Li et al. 2021) on digits, with a small network of four stages.

    raykd train digits/teskd

Its baseline is the same network alone:

    raykd train digits/supervised --student.name timm:test_resnet --name digits/supervised-test_resnet
"""

from dataclasses import replace

from raykd.methods.teskd import TESKD
from raykd.models.config import Network
from raykd.recipes.digits.supervised import recipe as supervised

recipe = replace(supervised, method=TESKD.Config(), student=Network(name="timm:test_resnet"))

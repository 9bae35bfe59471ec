"""OKDDip without a leader: all branches are peers, their ensemble is evaluated (the paper's table 4).

    raykd train cifar100/okddip_resnet32_ensemble

Cost: 300 epochs with four branches.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.okddip import OKDDip
from raykd.recipes.cifar100.supervised_resnet32 import recipe as supervised

recipe = replace(supervised, method=OKDDip.Config(leader=False), published=())

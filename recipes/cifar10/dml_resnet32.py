"""Deep mutual learning (DML) with ResNet-32 on CIFAR-10.

    raykd train cifar10/dml_resnet32

Cost: the baseline's 300 epochs, with two networks.
Published: none quoted.
Measured: not run here.
"""

from dataclasses import replace

from raykd.methods.dml import DML
from raykd.recipes.cifar10.supervised_resnet32 import recipe as supervised

recipe = replace(supervised, method=DML.Config())

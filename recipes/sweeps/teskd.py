"""TESKD's loss weights on CIFAR-100: cross-entropy and divergence sum to 1, the feature term is added.

    raykd tune sweeps/teskd

Cost: at most 32 times cifar100/teskd_resnet18; a trial may end at epoch 20, 60 or 180.
Measured: not run here.
"""

from dataclasses import replace

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from raykd.recipe import Search, Simplex
from raykd.recipes.cifar100.teskd_resnet18 import recipe as teskd

recipe = replace(
    teskd,
    search=Search(
        space={"method.ce, method.kd": Simplex(), "method.feature": tune.loguniform(1e-9, 1e-5)},
        samples=32,
        scheduler=ASHAScheduler(time_attr="epoch", max_t=200, grace_period=20, reduction_factor=3),
    ),
)

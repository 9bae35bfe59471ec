"""OKDDip's α, temperature and ramp-up on CIFAR-100: random search with early stopping after the ramp-ups.

    raykd tune sweeps/okddip

Cost: at most 32 times cifar100/okddip_resnet32; no trial ends before epoch 100, as the ramp-up is searched too.
Measured: not run here.
"""

from dataclasses import replace

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from raykd.recipe import Search
from raykd.recipes.cifar100.okddip_resnet32 import recipe as okddip

recipe = replace(
    okddip,
    search=Search(
        space={
            "method.alpha": tune.uniform(0.1, 2.0),
            "method.temperature": tune.uniform(1.0, 6.0),
            "method.ramp_up_epochs": tune.choice([0.0, 20.0, 40.0, 80.0]),
        },
        samples=32,
        scheduler=ASHAScheduler(time_attr="epoch", max_t=300, grace_period=100, reduction_factor=2),
    ),
)

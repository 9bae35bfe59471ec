"""A small search on digits: KD's weights on a simplex, its temperature, the learning rate; with early stopping.

raykd tune digits/search
"""

from dataclasses import replace

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from raykd.recipe import Search, Simplex
from raykd.recipes.digits.kd import recipe as kd

recipe = replace(
    kd,
    epochs=6,
    workers=1,
    search=Search(
        space={
            "method.gamma, method.alpha": Simplex(),
            "method.temperature": tune.uniform(1, 8),
            "optimizer.learning_rate": tune.loguniform(1e-3, 1.0),
        },
        samples=16,
        scheduler=ASHAScheduler(time_attr="epoch", max_t=6, grace_period=1, reduction_factor=2),
    ),
)

"""CA-MKD's α (logits) and β (features) on CIFAR-100, by Optuna's TPE with early stopping.

    raykd tune sweeps/ca_mkd

Cost: at most 32 times cifar100/ca_mkd_resnet8x4, and once its three teachers, which all trials share.
Needs the package optuna: pip install 'raykd[search]'.
Measured: not run here.
"""

from dataclasses import replace

from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from raykd.recipe import Search
from raykd.recipes.cifar100.ca_mkd_resnet8x4 import recipe as ca_mkd

recipe = replace(
    ca_mkd,
    search=Search(
        space={"method.alpha": tune.loguniform(0.1, 10.0), "method.beta": tune.loguniform(1.0, 1000.0)},
        samples=32,
        searcher=OptunaSearch(seed=0),
        scheduler=ASHAScheduler(time_attr="epoch", max_t=240, grace_period=30, reduction_factor=3),
    ),
)

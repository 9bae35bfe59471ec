"""The learning rate of FunMatch's teacher on Oxford-IIIT Pet: random search with early stopping.

    raykd tune sweeps/funmatch_teacher

Cost: at most 24 times fine-tuning the teacher; a trial that is not in the better half at epoch 10, 20, 40 or 80 ends.
Use the best rate in pet37/teacher: the accuracy of such a large teacher depends on its learning rate.
Measured: not run here.
"""

from dataclasses import replace

from ray import tune
from ray.tune.schedulers import ASHAScheduler

from raykd.recipe import Search
from raykd.recipes.pet37.teacher import recipe as teacher

recipe = replace(
    teacher,
    search=Search(
        space={"optimizer.learning_rate": tune.loguniform(3e-4, 3e-1)},
        samples=24,
        scheduler=ASHAScheduler(time_attr="epoch", max_t=100, grace_period=10, reduction_factor=2),
    ),
)

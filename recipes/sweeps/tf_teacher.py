"""The rate of FunMatch's teacher on Oxford-IIIT Pet, as a TensorFlow re-implementation searched it with Keras Tuner.

    raykd tune sweeps/tf_teacher

Cost: 3 learning rates with 2 runs each, each run at most pet37/tf_teacher; a run ends after 3 evaluations without a
gain.
Published: 90.32 % on the test split with the best of three rates, 8e-5 (S. Paul, FunMatch-Distillation).
Measured: not run here.
"""

from dataclasses import replace

from ray import tune

from raykd.recipe import Search
from raykd.recipes.pet37.tf_teacher import recipe as teacher

recipe = replace(
    teacher,
    patience=3,
    evaluate_every=2,
    search=Search(
        space={"optimizer.learning_rate": tune.choice([0.024, 8e-4, 8e-5, 4e-4])},
        samples=3,
        repeats=2,
    ),
)

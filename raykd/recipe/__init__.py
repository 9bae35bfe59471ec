"""A recipe names one experiment: data, networks, teachers, method, schedule. Frozen dataclasses, nothing that runs.

Imported by everything from runs upwards, and by recipe files. Its rooms load recipes and studies from files; none of
them imports torch when a recipe is only read, and none imports what trains, or Ray.
"""

from raykd.recipe.sections.optimizer import SGD, AdamW, Decay, Optimizer, Rate, Shampoo
from raykd.recipe.sections.output import Checkpoint, Debug, WandB
from raykd.recipe.sections.recipe import Published, Recipe, Train
from raykd.recipe.sections.schedule import Cosine, Piecewise, Schedule, Steps
from raykd.recipe.sections.search import Search, Simplex, When
from raykd.recipe.sections.teachers import Pretrained, Run, Teacher, Teachers
from raykd.recipe.sections.training import Initialise, Precision

__all__ = [
    "SGD",
    "AdamW",
    "Checkpoint",
    "Cosine",
    "Debug",
    "Decay",
    "Initialise",
    "Optimizer",
    "Piecewise",
    "Precision",
    "Pretrained",
    "Published",
    "Rate",
    "Recipe",
    "Run",
    "Schedule",
    "Search",
    "Shampoo",
    "Simplex",
    "Steps",
    "Teacher",
    "Teachers",
    "Train",
    "WandB",
    "When",
]

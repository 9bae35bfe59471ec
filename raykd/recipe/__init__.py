"""The classes that recipes consist of: frozen dataclasses that describe one experiment, without code that runs.

Imported by recipe files, by runs, and by all packages above it. Its subpackages load recipes and studies from files;
reading a recipe doesn't import torch, and none of them imports Ray or what trains.
"""

from raykd.recipe.sections.optimizer import (
    SGD,
    AdamW,
    Cosine,
    Decay,
    Optimizer,
    Piecewise,
    Rate,
    Schedule,
    Shampoo,
    Steps,
)
from raykd.recipe.sections.output import Checkpoint, Debug, WandB
from raykd.recipe.sections.recipe import Initialise, Precision, Published, Recipe, Train
from raykd.recipe.sections.search import Search, Simplex, When
from raykd.recipe.sections.teachers import Pretrained, Run, Teacher, Teachers

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

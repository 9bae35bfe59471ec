"""A BatchNorm-free network, a recipe and data small enough for any test."""

import dataclasses

import torch
from torch import nn

from raykd.contract import Placement
from raykd.data.loader import TestLoader, TrainLoader
from raykd.data.storage.prepare import prepare
from raykd.methods.supervised import Supervised
from raykd.models import create
from raykd.models.staged import Parts, Staged
from raykd.recipe import Precision
from raykd.recipes.digits.supervised import recipe as digits

CPU = torch.device("cpu")


def network(width: int = 8, dropout: float = 0.0, activation=nn.ReLU) -> Staged:
    """Two convolutional stages with GroupNorm."""
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(3, width, 3, stride=2, padding=1))
    model.add_module("one", nn.Sequential(nn.GroupNorm(2, width), activation(), nn.Conv2d(width, width, 3, stride=2)))
    model.add_module("two", nn.Sequential(nn.GroupNorm(2, width), activation(), nn.Dropout(dropout)))
    model.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    model.add_module("fc", nn.Linear(width, 10))
    sections = {"stem": ["stem"], "stages": [["one"], ["two"]], "pool": ["pool"], "head": ["fc"]}
    return Staged(Parts(model, **sections), name="tiny", num_classes=10, image_size=32)


ALONE = Placement(CPU, 1)


def recipe(**changes):
    """Supervised training of the digits in small; float32, NCHW."""
    return dataclasses.replace(digits, **{"epochs": 1, "precision": Precision(channels_last=False), **changes})


def data(chosen, rank: int = 0, world: int = 1):
    """Train and test loaders of one worker."""
    prepared = prepare(chosen.data)
    placement, size = Placement(CPU, 1, rank, world), chosen.batch_size
    train = TrainLoader(chosen.data, prepared, placement, batch_size=size, seed=chosen.seed)
    return train, TestLoader(chosen.data, prepared, placement, batch_size=size)


def distiller(config=None, teachers=(), seed: int = 0, **options):
    torch.manual_seed(seed)
    return (config or Supervised.Config()).build(lambda: network(**options), teachers)


__all__ = ["CPU", "Supervised", "create", "data", "distiller", "network", "recipe"]

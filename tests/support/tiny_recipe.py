"""Searches and ensembles that take seconds: 160 digits of 8×8 pixels."""

import textwrap
from pathlib import Path

RECIPE = '''
"""{docstring}"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining
from torch import nn

from raykd.contract import Step
from raykd.data.config import Data, Source
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe import SGD, Cosine, Recipe, Search, Simplex, Teachers, Train, When


@dataclass(frozen=True, kw_only=True)
class Few(Source):
    name: ClassVar[str] = "few"

    def open(self, root, download):
        import numpy as np
        from sklearn.datasets import load_digits

        from raykd.data.examples import Splits, from_arrays

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None].repeat(3, axis=3)
        parts = (from_arrays(images[a:b], digits.target[a:b].tolist(), "few") for a, b in ((0, 160), (160, 320)))
        return Splits(tuple("0123456789"), *parts)


class Fragile(Supervised):
    """Supervised training whose loss becomes NaN, or whose process is lost, where its settings say so."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        bad: str = ""

        def build(self, new_student, teachers):
            return Fragile(self, new_student())

    def forward(self, batch, teachers, epoch):
        step = super().forward(batch, teachers, epoch)
        if self.config.bad == "nan" and epoch >= 1:
            return Step({{name: term * float("nan") for name, term in step.terms.items()}}, step.notes)
        if self.config.bad == "killed" and epoch >= 1:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
        return step


base = Recipe(
    method=Fragile.Config(),
    student=Network(name="resnet8"),
    data=Data(source=Few(), image_size=8, mean=(0.3, 0.3, 0.3), std=(0.4, 0.4, 0.4), root={root!r}),
    epochs=2,
    batch_size=32,
    optimizer=SGD(learning_rate=0.05),
    schedule=Cosine(),
    max_failures=1,
)
recipe = {expression}
'''


def write(folder: Path, name: str, expression: str, root: Path) -> Path:
    """A recipe file whose `recipe` is the expression over `base`."""
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(RECIPE).format(docstring=name, expression=expression, root=str(root)))
    return path

"""The deployed network of a run, with a description of its input, output and origin."""

import json
from dataclasses import dataclass, replace

from torch import nn

from raykd.data.config import Data
from raykd.models.staged import Staged
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import fingerprint
from raykd.recipe.labels import method_name
from raykd.recipe.serial import to_dict
from raykd.runs.results.models import Result
from raykd.runs.results.read import read_result
from raykd.runs.student import About, read_student
from raykd.storage.folder import Folder

INPUT = "float32 [N, 3, image_size, image_size], RGB scaled to [0, 1], then (x - mean) / std by channel"
OUTPUT = "logits [N, classes]"


@dataclass(frozen=True)
class Deployed:
    """A run's network and its origin. data: with the mean and deviation that the network was trained with."""

    run: Folder
    recipe: Recipe
    network: Staged
    about: About
    data: Data
    result: Result | None

    @property
    def model(self) -> nn.Module:
        """The plain network, ready to run."""
        return self.network.model.eval()

    def described(self, **more: object) -> dict[str, str]:
        """Metadata of a file: classes, preprocessing, origin. more: added entries, or replacements."""
        about = self.about
        known: dict[str, object] = {
            "network": about.network,
            "classes": about.classes,
            "image_size": about.image_size,
            "mean": about.mean,
            "std": about.std,
            "resize": [to_dict(step) for step in self.data.test],
            "interpolation": "bilinear, antialiased, rounded to whole levels",
            "input": INPUT,
            "output": OUTPUT,
            "method": method_name(to_dict(self.recipe.method)),
            "recipe": fingerprint(self.recipe),
        }
        if self.result is not None:
            known |= {"top1": self.result.top1, "commit": self.result.git}
        return {
            f"raykd.{key}": value if isinstance(value, str) else json.dumps(value)
            for key, value in (known | more).items()
        }


def open_deployed(run: Folder, recipe: Recipe) -> Deployed:
    """The deployed network of a run with that recipe; raises UserError if it is missing or damaged."""
    network, about = read_student(run)
    data = replace(recipe.data, image_size=about.image_size, mean=about.mean, std=about.std)
    return Deployed(run, recipe, network, about, data, read_result(run))

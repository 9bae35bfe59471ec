"""A run from Python: what came of it, its network, its predictions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe import Run as Teacher
from raykd.runs.opening import open_finished
from raykd.runs.recipe import recipe_of
from raykd.runs.results import read_evaluation, read_result
from raykd.storage.folder import Folder

if TYPE_CHECKING:
    from torch import nn

    from raykd.deploy.predictor import Prediction, Predictor


@dataclass(frozen=True, kw_only=True)
class Run(Teacher):
    """A run by its directory. It is a teacher as well: `Teachers(sources=(run,))`."""

    @property
    def folder(self) -> Folder:
        """Its directory, on whatever storage."""
        return Folder(self.path)

    @property
    def result(self) -> dict[str, Any]:
        """result.json: what came of it, accuracies as fractions; raises UserError where the run has not ended."""
        if read_result(self.folder) is None:
            raise UserError(f"{self.folder} has no result yet: train it to its end")
        return self.folder.read_json("result.json")

    @property
    def metrics(self) -> Any:
        """metrics.jsonl, a row an evaluation: a pandas DataFrame, or without pandas a list of dicts.

        Columns are named as in W&B, as "terms/kd" and "evaluation/student/top1".
        """
        from raykd.runs.directory import lines

        return table(lines(self.folder))

    @property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json: the last evaluation in full; raises UserError where there is none yet."""
        if read_evaluation(self.folder) is None:
            raise UserError(f"{self.folder} has no full evaluation yet: train it to its end")
        return self.folder.read_json("evaluation.json")

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was resolved, without its search."""
        return recipe_of(self.folder)

    def student(self) -> "nn.Module":
        """The deployed network, plain and in evaluation mode: normalised images [N, 3, S, S] → logits [N, C]."""
        from raykd.runs.student import read_student

        network, _ = read_student(self.folder)
        return network.model.eval()

    def predict(self, images: Any, top: int = 5) -> "list[list[Prediction]]":
        """The likeliest classes of pictures, with the preprocessing of the run's evaluation, the likeliest first.

        images: paths of image files, bytes of them, arrays [H, W, 3] of uint8 (one array [N, H, W, 3] too), or images
        of PIL; one alone gives a list of one.
        """
        return self.predictor().predict(several(images), top)

    def predictor(self, device: str = "auto", batch_size: int = 64) -> "Predictor":
        """What `predict` predicts with, to be kept where pictures come one by one; also gives plain probabilities.

        device: "cpu", "cuda", or "auto": a GPU where there is one. batch_size: pictures at once.
        """
        from raykd.deploy.predictor import Predictor

        return Predictor(self.folder, self.recipe, device, batch_size)

    def __str__(self) -> str:
        result = read_result(self.folder)
        if result is None:
            return f"{self.path}: not finished"
        return f"{self.path}: {result.method}, {result.status}, top-1 {100 * result.top1:.2f} %"


def load(path: str | Path, *, trust_source: bool = False) -> Run:
    """A run by its directory: a local path or a URI of the storage; raises UserError where there is none.

    trust_source: import the modules of the user's own that the run was made with from its directory, which runs them.
    """
    folder = Folder(path)
    if not folder.exists("recipe.json"):
        raise UserError(f"{folder} is not a run directory: it has no recipe.json")
    if trust_source:
        open_finished(str(path), trust_source=True)
    return Run(path=folder.place)


def several(images: Any) -> Iterable[Any]:
    """Pictures one by one, also where one alone was given."""
    alone = isinstance(images, str | Path | bytes) or getattr(images, "ndim", 0) == 3 or hasattr(images, "getbands")
    return [images] if alone else images


def table(lines: list[dict[str, Any]]) -> Any:
    """Lines as a pandas DataFrame where pandas is installed, else as they are; nested names joined by slashes."""
    rows = [dict(_flat(line, "")) for line in lines]
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame(rows)


def _flat(value: Mapping[str, Any], name: str) -> Iterable[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{name}{key}/")
        else:
            yield f"{name}{key}", item

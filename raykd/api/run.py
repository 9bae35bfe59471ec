"""A run from Python: its result, its network, its predictions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from raykd import UserError
from raykd.fields import PositiveInt
from raykd.output import masked
from raykd.recipe import Recipe
from raykd.recipe import Run as Teacher
from raykd.recipe.validate import checked
from raykd.runs.recipe import open_finished, recipe_of
from raykd.runs.results.read import read_evaluation, read_result
from raykd.storage.folder import Folder

if TYPE_CHECKING:
    from torch import nn

    from raykd.deploy.predictor import Prediction, Predictor


@dataclass(frozen=True, kw_only=True)
class Run(Teacher):
    """A run, given by its directory (a path or a URI). It can also be a teacher: `Teachers(sources=(run,))`."""

    @property
    def folder(self) -> Folder:
        """Its directory, on any storage."""
        return Folder(self.path)

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json, accuracies as fractions; raises UserError if the run has not ended."""
        if read_result(self.folder) is None:
            raise UserError(f"{self.folder} has no result yet: train it to its end")
        return self.folder.read_json("result.json")

    @property
    def metrics(self) -> Any:
        """The content of metrics.jsonl, one row per evaluation: a pandas DataFrame, or without pandas a list of dicts.

        Columns are named as in W&B, such as "terms/kd" and "evaluation/student/top1".
        """
        from raykd.runs.metrics_log import lines

        return table(lines(self.folder))

    @property
    def evaluation(self) -> dict[str, Any]:
        """The content of evaluation.json, the complete last evaluation; raises UserError if the run has not ended."""
        if read_evaluation(self.folder) is None:
            raise UserError(f"{self.folder} has no full evaluation yet: train it to its end")
        return self.folder.read_json("evaluation.json")

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe, without its search; raises UserError if recipe.json is missing or damaged."""
        return recipe_of(self.folder)

    def student(self) -> "nn.Module":
        """The deployed network in evaluation mode: normalised images [N, 3, S, S] → logits [N, C].

        Raises UserError if the run has no network yet.
        """
        from raykd.runs.student import read_student

        network, _ = read_student(self.folder)
        return network.model.eval()

    @checked
    def predict(self, images: Any, top: PositiveInt = 5) -> "list[list[Prediction]]":
        """The `top` most probable classes of each image, the most probable first.

        Images are preprocessed as in the run's evaluations. images: paths or bytes of image files, uint8 arrays
        [H, W, 3] (or one array [N, H, W, 3]), or PIL images; for a single image, the result is a list of one.
        Raises UserError if the run has no network yet, and for an image that can't be read or has an invalid size.
        """
        return self.predictor().predict(several(images), top)

    @checked
    def predictor(self, device: Literal["auto", "cpu", "cuda"] = "auto", batch_size: PositiveInt = 64) -> "Predictor":
        """A `Predictor`, which loads the network once for many calls, and also returns probabilities of all classes.

        device: "cpu", "cuda", or "auto": a GPU if available. batch_size: images at once.
        Raises UserError if the run has no network yet, and for "cuda" without a GPU.
        """
        from raykd.deploy.predictor import Predictor

        return Predictor(self.folder, self.recipe, device, batch_size)

    def __repr__(self) -> str:
        return f"Run(path={masked(self.path)!r})"

    def __str__(self) -> str:
        result = read_result(self.folder)
        if result is None:
            return f"{self.folder}: not finished"
        return f"{self.folder}: {result.method}, {result.status}, top-1 {100 * result.top1:.2f} %"


@checked
def load(path: str | Path, *, trust_source: bool = False) -> Run:
    """The run in a directory, given by a local path or a URI; raises UserError if there is none.

    trust_source: import the user's modules that are stored in the directory, which runs their code.
    """
    folder = Folder(path)
    if not folder.exists("recipe.json"):
        raise UserError(f"{folder} is not a run directory: it has no recipe.json (`raykd list runs` shows the runs)")
    if trust_source:
        open_finished(str(path), trust_source=True)
    return Run(path=folder.location)


def open_local(run: Run | str | Path, trust_source: bool, data_root: str | Path) -> tuple[Folder, Recipe]:
    """A finished run's directory and its recipe, whose data lie below a folder of this machine.

    The recipe's own folder is not used, as the run may be somebody else's. Raises UserError where there is no run.
    """
    folder, recipe = open_finished(run.path if isinstance(run, Run) else str(run), trust_source)
    return folder, replace(recipe, data=replace(recipe.data, root=str(data_root), shared="", download=False))


def several(images: Any) -> Iterable[Any]:
    """Several images unchanged, a single one as a list; raises UserError for anything else."""
    alone = isinstance(images, str | Path | bytes) or getattr(images, "ndim", 0) == 3 or hasattr(images, "getbands")
    try:
        return [images] if alone else iter(images)
    except TypeError:
        raise UserError(
            f"images: {images!r:.60} is neither an image nor a list of images; give paths, bytes, arrays [H, W, 3] or "
            "PIL images"
        ) from None


def table(lines: list[dict[str, Any]]) -> Any:
    """Lines as a pandas DataFrame if pandas is installed, else as dicts; nested names are joined by slashes."""
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

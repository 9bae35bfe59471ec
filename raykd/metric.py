"""Base class of a recipe's own metrics. Importing this module costs nothing: no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from raykd.fields import Rule

if TYPE_CHECKING:
    from torch import Tensor

NAME = Rule("a lower-case word such as brier", lambda name: name.isidentifier() and name == name.lower())
FORMS = (".f", ".%", ".e", ".g")
FORMAT = Rule("a format such as .3f or .1%", lambda form: len(form) == 3 and form[1].isdigit() and form[0::2] in FORMS)


BUILT_IN = ("top1", "top5", "loss", "ece")
"""Names of the built-in metrics, computed in raykd.training.evaluation; ece is not a mean over samples."""
RESERVED = (*BUILT_IN, "agreement", "per_class", "per_class_count", "calibration")
DISTINCT = Rule(
    f"of different names, none of them {', '.join(RESERVED)}",
    lambda metrics: len({*RESERVED, *(metric.name for metric in metrics)}) == len(RESERVED) + len(metrics),
)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric that is the mean of one value per sample of an evaluation.

    Your own metric is a subclass in a file next to the recipe, with a default for `name` and a `per_sample`; the recipe
    lists it in `metrics`. Its values are in metrics.jsonl, W&B and reports, and searches can optimise it.
    """

    name: Annotated[str, NAME]
    """Key in metrics.jsonl, e.g. brier."""
    format: Annotated[str, FORMAT] = ".4f"
    """Format in tables, such as .3f or .1%."""

    def per_sample(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """The value of each sample: float32 logits [B, C] and class numbers [B] → [B], of any number type."""
        raise NotImplementedError

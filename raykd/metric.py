"""What a recipe says of its metrics. Importing this module costs nothing: no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from raykd.fields import Rule

if TYPE_CHECKING:
    from torch import Tensor

NAME = Rule("a lower-case word such as brier", lambda name: name.isidentifier() and name == name.lower())
FORMS = (".f", ".%", ".e", ".g")
FORMAT = Rule("a format such as .3f or .1%", lambda form: len(form) == 3 and form[1].isdigit() and form[0::2] in FORMS)


BUILT_IN = ("top1", "top5", "loss", "ece")
"""What every evaluation has, computed in raykd.training.evaluation; ece is no mean over samples."""
TAKEN = (*BUILT_IN, "agreement", "per_class", "per_class_count", "calibration")
DISTINCT = Rule(
    f"of different names, none of them {', '.join(TAKEN)}",
    lambda metrics: len({*TAKEN, *(metric.name for metric in metrics)}) == len(TAKEN) + len(metrics),
)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of every evaluation: the mean over all samples of a value that each of them has.

    A metric of one's own is a subclass beside the recipe that gives `name` a default and has `per_sample`; the recipe
    names it in `metrics`. It is then in metrics.jsonl, in W&B, in reports, and can be what a search compares.
    """

    name: Annotated[str, NAME]
    """What it is called, e.g. brier."""
    format: Annotated[str, FORMAT] = ".4f"
    """How tables print it."""

    def per_sample(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """[B, C] float32 logits and [B] class numbers → [B] values."""
        raise NotImplementedError

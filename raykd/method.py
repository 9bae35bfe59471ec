"""Base class of a method's settings in a recipe. Importing this module costs nothing: no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

if TYPE_CHECKING:
    from raykd.contract import Distiller
    from raykd.models.staged import Staged


Kind = Literal["baseline", "logits", "features", "relations", "several teachers", "online", "self", "sum"]
"""What a method learns from; `raykd list methods` groups them by it."""
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Base class of a method's settings in a recipe; `build` creates its distiller."""

    kind: ClassVar[Kind]
    label_weight: ClassVar[str] = ""  # the field that weights the only term with labels; empty: labels are always read

    @property
    def name(self) -> str:
        """The name of the module that defines the method, such as kd."""
        return type(self).__module__.rpartition(".")[2]

    # The properties below may be class attributes in a method, such as `hard_labels = True`.
    @property
    def hard_labels(self) -> bool:
        """Whether the method requires hard labels, that is, can't be used with mixup and CutMix."""
        return False

    @property
    def uses_teachers(self) -> bool:
        """Whether the method uses teachers; if not, a recipe may not name any."""
        return True

    @property
    def initialises(self) -> bool:
        """Whether the method needs the recipe's `initialise` phase."""
        return False

    @property
    def compares_classes(self) -> bool:
        """Whether the method reads the teachers' logits; if False, teachers may have other classes than the data."""
        return True

    @property
    def compares_images(self) -> bool:
        """Whether the loss compares the images of a batch, so that it depends on how many are computed at once."""
        return False

    @property
    def reads_labels(self) -> bool:
        """Whether the loss, as configured, reads labels; if not, training images need none."""
        return not self.label_weight or bool(getattr(self, self.label_weight) > 0)

    def with_batch_size(self, size: int) -> "MethodConfig":
        """These settings for a recipe's global batch size, in images; for methods whose modules depend on it."""
        return self

    def build(self, new_student: "Callable[[], Staged]", teachers: "Sequence[Staged]") -> "Distiller":
        """Create a distiller with freshly initialised students.

        new_student: creates another student at each call. teachers: the frozen networks, in the recipe's order.
        Raises UserError if the networks or their number don't fit the method.
        """
        raise NotImplementedError


def labels_missing(which: str) -> str:
    """What is wrong, and what helps, if a method requires labels that `which` don't have."""
    cure = "use a method without labels (FunMatch, KD with gamma 0), or data.labelled_share 1"
    return f"requires labels, which {which} don't have: {cure}"

"""What a recipe says of its method. Importing this module costs nothing: no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

if TYPE_CHECKING:
    from raykd.contract import Distiller
    from raykd.models.staged import Staged


Kind = Literal["baseline", "logits", "features", "relations", "several teachers", "online", "self", "sum"]
"""What a method learns from: how `raykd list methods` groups them."""
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Settings of one method; `build` makes its distiller."""

    kind: ClassVar[Kind]
    label_weight: ClassVar[str] = ""  # the field that weighs the only term with labels; empty: the loss always has one

    # A method writes `hard_labels = True`, or a property of its own where that depends on its fields.
    @property
    def hard_labels(self) -> bool:
        """Whether the method can't take the soft labels that mixing makes."""
        return False

    @property
    def uses_teachers(self) -> bool:
        return True

    @property
    def initialises(self) -> bool:
        """Whether the method needs the recipe's `initialise` phase."""
        return False

    @property
    def compares_classes(self) -> bool:
        """False: reads features of the teachers alone, whose classes may be others."""
        return True

    @property
    def reads_labels(self) -> bool:
        """Whether the loss reads labels, as configured; where it doesn't, training images need none."""
        return not self.label_weight or bool(getattr(self, self.label_weight) > 0)

    def for_batches_of(self, size: int) -> "MethodConfig":
        """These settings for a recipe's batch size; for methods whose modules are as wide as a batch."""
        return self

    def build(self, new_student: "Callable[[], Staged]", teachers: "Sequence[Staged]") -> "Distiller":
        """A distiller of fresh students; raises UserError where the teachers or the networks don't fit."""
        raise NotImplementedError

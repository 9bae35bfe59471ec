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
    hard_labels: ClassVar[bool] = False  # True: the method can't take the soft labels that mixing makes
    uses_teachers: ClassVar[bool] = True
    initialises: ClassVar[bool] = False  # True: needs the recipe's `initialise` phase
    compares_classes: ClassVar[bool] = True  # False: reads features of the teachers alone, whose classes may be others

    label_weight: ClassVar[str] = ""  # the field that weighs the only term with labels; empty: the loss always has one

    @property
    def reads_labels(self) -> bool:
        """Whether the loss reads labels, as configured; where it doesn't, training images need none."""
        return not self.label_weight or getattr(self, self.label_weight) > 0

    def build(self, new_student: "Callable[[], Staged]", teachers: "Sequence[Staged]") -> "Distiller":
        """A distiller of fresh students; raises UserError where the teachers or the networks don't fit."""
        raise NotImplementedError

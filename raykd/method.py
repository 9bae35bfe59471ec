"""What a recipe says of its method. Importing this module costs nothing: no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from raykd.contract import Distiller
    from raykd.models.staged import Staged


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Settings of one method; `build` makes its distiller."""

    hard_labels: ClassVar[bool] = False  # True: the method can't take the soft labels that mixing makes
    uses_teachers: ClassVar[bool] = True

    def build(self, new_student: "Callable[[], Staged]", teachers: "Sequence[Staged]") -> "Distiller":
        """A distiller of fresh students; raises UserError where the teachers or the networks don't fit."""
        raise NotImplementedError

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
    """Settings of one method; `build` makes its distiller."""

    kind: ClassVar[Kind]
    label_weight: ClassVar[str] = ""  # the field that weighs the only term with labels; empty: labels always count

    @property
    def name(self) -> str:
        """The name of the module that defines the method, such as kd."""
        return type(self).__module__.rpartition(".")[2]

    # The properties below may be class attributes in a method, such as `hard_labels = True`.
    @property
    def hard_labels(self) -> bool:
        """Whether the method can't use the soft labels of mixed images."""
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
        """False: reads only features of the teachers, which may have other classes."""
        return True

    @property
    def reads_labels(self) -> bool:
        """Whether the loss, as configured, reads labels; if not, training images need none."""
        return not self.label_weight or bool(getattr(self, self.label_weight) > 0)

    def with_batch_size(self, size: int) -> "MethodConfig":
        """These settings for a recipe's global batch size; for methods whose modules depend on it."""
        return self

    def build(self, new_student: "Callable[[], Staged]", teachers: "Sequence[Staged]") -> "Distiller":
        """A distiller with fresh students; raises UserError if the networks don't fit the method."""
        raise NotImplementedError

"""Methods that compare the logits of a student with those of one teacher, sample by sample, at a temperature."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from raykd.contract import Batch, Output, Step
from raykd.losses import cross_entropy
from raykd.methods.base.student import SingleStudent, StudentConfig


@dataclass(frozen=True, kw_only=True)
class LogitConfig(StudentConfig):
    """Base class of the settings of methods that compare logits; subclasses have fields of these names."""

    @property
    def gamma(self) -> float:
        """Weight of the cross-entropy with the labels."""
        raise NotImplementedError

    @property
    def temperature(self) -> float:
        """Temperature of the softmaxes."""
        raise NotImplementedError


class LogitMethod(SingleStudent):
    """Base class of methods with the loss γ CE + the mean over samples of a divergence.

    The divergence is a separate function, so that other methods can vary the temperature (CTKD) or the logits that are
    compared (SDD).
    """

    config: LogitConfig

    def divergence(
        self, student: Tensor, teacher: Tensor, labels: Tensor, temperature: float | Tensor
    ) -> dict[str, Tensor]:
        """Weighted terms by name, each [B]; logits [B, C], labels [B] or [B, C]."""
        raise NotImplementedError

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        logits = student.logits
        terms = self.divergence(logits, teachers[0].logits, batch.labels, self.config.temperature)
        return self.weighted({name: term.mean() for name, term in terms.items()}, logits, batch.labels, epoch)

    def weighted(self, terms: dict[str, Tensor], logits: Tensor, labels: Tensor, epoch: float) -> Step:
        """The step from the divergence's batch means, each [], plus the cross-entropy of logits [B, C] and labels."""
        return Step({"ce": self.config.gamma * cross_entropy(logits, labels)} | terms, {})

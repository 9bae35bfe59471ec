"""A custom schedule: constant, then linear decay to 0 ("warm-up, stable, decay", Hu et al. 2024).

raykd train own_schedule.py
"""

from dataclasses import dataclass, replace

from raykd.fields import Probability
from raykd.recipe import Schedule
from raykd.recipes.digits.supervised import recipe as digits


@dataclass(frozen=True, kw_only=True)
class StableThenDecay(Schedule):
    decay_share: Probability = 0.2
    """Fraction of the steps, at the end, in which the rate decays."""

    def share_of_peak(self, step: int, epoch: float, total: int) -> float:
        return min(1.0, (total - step) / (self.decay_share * total)) if self.decay_share else 1.0


recipe = replace(digits, schedule=StableThenDecay(warmup_steps=20))

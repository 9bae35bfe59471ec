"""A user's method next to a recipe: wraps any method's distiller and harms its own process at given steps, once each.

Files in the folder of flags record what has happened, so that the replacing process continues without it.
"""

import os
import signal
import time
from dataclasses import dataclass

from raykd.method import MethodConfig


@dataclass(frozen=True, kw_only=True)
class Dying(MethodConfig):
    inner: MethodConfig
    flags: str
    """Folder of the flags."""
    deaths: tuple[float, ...] = ()
    """Epochs (fractional) at which the process dies by SIGKILL."""
    sleep: float = 0.0
    """Seconds added to every step."""
    rank: int = 0
    """Rank of the worker that is harmed."""
    stuck: float = -1.0
    """Epoch at which the worker sleeps for an hour."""
    terminated: float = -1.0
    """Epoch at which the worker gets SIGTERM."""
    memory: float = -1.0
    """Epoch at which the worker allocates more memory than there is."""

    @property
    def uses_teachers(self):
        return self.inner.uses_teachers

    @property
    def hard_labels(self):
        return self.inner.hard_labels

    def build(self, new_student, teachers):
        distiller = self.inner.build(new_student, teachers)
        forward = distiller.forward

        def fateful(batch, outputs, epoch):
            time.sleep(self.sleep)
            if own_rank() == self.rank:
                self.suffer(epoch)
            return forward(batch, outputs, epoch)

        distiller.forward = fateful
        return distiller

    def suffer(self, epoch):
        for death in self.deaths:
            if epoch >= death and self.first(f"death-{death}"):
                os.kill(os.getpid(), signal.SIGKILL)
        if 0 <= self.terminated <= epoch and self.first("terminated"):
            os.kill(os.getpid(), signal.SIGTERM)
        if 0 <= self.stuck <= epoch and self.first("stuck"):
            time.sleep(3600)
        if 0 <= self.memory <= epoch:
            import torch

            torch.empty(1 << 50)

    def first(self, what):
        """Whether this happens for the first time."""
        try:
            os.close(os.open(f"{self.flags}/{what}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def own_rank():
    import torch

    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0

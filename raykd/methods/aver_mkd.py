"""Several teachers, equally weighted: γ CE + α · mean over teachers of T² KL(teacher_k ‖ student).

AVER-MKD as Confidence-Aware Multi-Teacher Knowledge Distillation (Zhang et al., ICASSP 2022) compares it; the idea
is that of "Learning from Multiple Teacher Networks" (You et al., KDD 2017).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from raykd.methods.base.multi_teacher import Features, MultiTeacher, MultiTeacherConfig, Weighting, build
from raykd.models.staged import Staged


class AverMKD(MultiTeacher):
    """Learns from several teachers with equal weights."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MultiTeacherConfig):
        def build(self, new_student: Callable[[], Staged], teachers: Sequence[Staged]) -> MultiTeacher:
            return build("aver_mkd", self, new_student, teachers, Weighting(), Features())

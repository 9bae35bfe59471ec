"""Several teachers, equally weighted: γ CE + α · mean over teachers of T² KL(teacher_k ‖ student).

AVER-MKD as Confidence-Aware Multi-Teacher Knowledge Distillation (Zhang et al., ICASSP 2022) compares it; the idea
is that of "Learning from Multiple Teacher Networks" (You et al., KDD 2017).
"""

from dataclasses import dataclass

from raykd.methods.base.multi_teacher import MultiTeacher, MultiTeacherConfig


class AverMKD(MultiTeacher):
    """Learns from several teachers with equal weights."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MultiTeacherConfig):
        pass

"""Cross-Layer Distillation with Semantic Calibration (Chen et al., AAAI 2021).

SemCKD: every stage of the student is compared with every stage of the teacher, and an attention weights the pairs of
each sample: softmax over the teacher's stages of query · key, which small networks compute from the sample's row of
the stage's batch similarity matrix. The loss is γ CE + β · mean over samples and the student's stages of
Σ attention · MSE(regressor(student's map), teacher's map). Published: β 400, with KD at T 4 (add `kd` by a `sum`).
The rows are those of the global batch, however many workers share it. The authors' networks take rows of the batch size
and so skip incomplete batches; here the similarities to missing samples are 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Batch, Output, Step, global_rows
from raykd.fields import NonNegative, NonNegativeInt, Positive
from raykd.losses import cross_entropy, full_precision, map_distance
from raykd.methods.base.feature_method import FeatureConfig
from raykd.methods.base.maps import conv_bn, pool_to_smaller
from raykd.methods.base.student import SingleStudent
from raykd.models.staged import Staged


def similarity(feature_map: Tensor, width: int) -> Tensor:
    """Products of the flattened maps of a batch, [B, D, h, w] → [B, width], 0 beyond the batch."""
    x = full_precision(feature_map).flatten(1)
    with torch.autocast(x.device.type, enabled=False):  # which would multiply in half precision
        return F.pad(x @ x.T, (0, width - len(x)))


def attention(queries: Tensor, keys: Tensor, softness: float) -> Tensor:
    """softmax over the teacher's stages of query · key / softness: [B, S, d], [B, T, d] → [B, S, T]."""
    # Products and sums, not a matmul: autocast would compute that in half precision.
    scores = (full_precision(queries).unsqueeze(2) * full_precision(keys).unsqueeze(1)).sum(-1)
    return F.softmax(scores / softness, dim=2)


def semckd_loss(weights: Tensor, errors: Tensor) -> Tensor:
    """Mean over samples and student's stages of Σ weight · error, both [B, S, T]."""
    return (weights * errors).sum(2).mean()


class Embedding(nn.Module):
    """A row of a similarity matrix → a vector of length 1: [B, width] → [B, width // 4]."""

    def __init__(self, width: int):
        super().__init__()
        out = width // 4
        self.linear1 = nn.Linear(width, 2 * out)
        self.linear2 = nn.Linear(2 * out, out)

    def forward(self, rows: Tensor) -> Tensor:
        return F.normalize(full_precision(self.linear2(F.relu(self.linear1(rows)))), dim=1)


def regressor(width: int, out: int) -> nn.Sequential:
    """1×1, 3×3 and 1×1 convolutions to a teacher's width, twice that inside, BN and ReLU between them."""
    inner = 2 * out
    hidden = [*conv_bn(width, inner), nn.ReLU(), *conv_bn(inner, inner, 3), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Conv2d(inner, out, 1, bias=False))


class SemCKD(SingleStudent):
    """Matches every stage of the student with every stage of the teacher, weighted by attention for each sample."""

    @dataclass(frozen=True, kw_only=True)
    class Config(FeatureConfig):
        kind = "features"
        compares_images = True

        beta: NonNegative = 400.0
        """Weight of the feature term."""
        softness: Positive = 1.0
        """Divides the scores of the attention."""
        batch: NonNegativeInt = 0
        """Images of a global batch, the input width of the attention's networks; 0: the recipe's batch size."""

        def with_batch_size(self, size: int) -> "SemCKD.Config":
            return replace(self, batch=self.batch or size)

    config: Config

    def __init__(self, config: Config, student: Staged, teacher: Staged):
        """Raises UserError unless the stages of both networks give maps."""
        super().__init__(config, student, (teacher,))
        for network in (student, teacher):
            if not network.stages or any(len(network.shapes[stage]) != 3 for stage in network.stages):
                raise UserError(
                    f"semckd compares maps [D, h, w] of stages, which {network.name} does not have: use another network"
                )
        self.student_features, self.teacher_features = student.stages, (teacher.stages,)
        self.queries = nn.ModuleList(Embedding(config.batch) for _ in student.stages)
        self.keys = nn.ModuleList(Embedding(config.batch) for _ in teacher.stages)
        outs = [teacher.width(stage) for stage in teacher.stages]
        rows = (nn.ModuleList(regressor(student.width(stage), out) for out in outs) for stage in student.stages)
        self.regressors = cast(Sequence[nn.ModuleList], nn.ModuleList(rows))

    def step(self, student: Output, batch: Batch, teachers: Sequence[Output], epoch: float) -> Step:
        student_maps = [student.features[stage] for stage in self.student_features]
        teacher_maps = [teachers[0].features[stage] for stage in self.teacher_features[0]]
        queries, keys = (
            self._embedded(self.queries, student_maps, batch),
            self._embedded(self.keys, teacher_maps, batch),
        )
        weights = attention(queries, keys, self.config.softness)
        rows = [
            torch.stack([_error(r, s, t) for r, t in zip(row, teacher_maps)], 1)
            for row, s in zip(self.regressors, student_maps)
        ]
        errors = global_rows(torch.stack(rows, 1), batch.shares)
        terms = {
            "ce": self.config.gamma * cross_entropy(student.logits, batch.labels),
            "feature": self.config.beta * semckd_loss(weights, errors),
        }
        return Step(terms, {f"attention{i + 1}": row for i, row in enumerate(weights.detach().mean(0))})

    def _embedded(self, embeddings: nn.ModuleList, maps: Sequence[Tensor], batch: Batch) -> Tensor:
        """[B, stages, d], of the rows of the global batch."""
        width, rows = self.config.batch, sum(batch.shares) or len(batch.index)
        if rows > width:
            raise UserError(f"`method.batch` of semckd is {width}, but a batch has {rows} images: set it to 0")
        gathered = [global_rows(x, batch.shares) for x in maps]
        return torch.stack([embed(similarity(x, width)) for embed, x in zip(embeddings, gathered, strict=True)], 1)


def _error(regress: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    """Each sample's mean squared difference, [B]."""
    source, target = pool_to_smaller(student, teacher)
    return map_distance(regress(source), target)

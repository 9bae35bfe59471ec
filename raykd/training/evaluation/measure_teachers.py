"""Evaluates the frozen teachers once before the first step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from raykd import UserError
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.training.evaluation.ensemble import combined, scores
from raykd.training.evaluation.evaluate import Figures, collect, evaluate
from raykd.training.setup import Experiment
from raykd.training.update.nonfinite import NotFiniteError

NEAR_CHANCE = 0.05  # fraction of the way from chance accuracy to 1


@dataclass(frozen=True)
class MeasuredTeachers:
    """Results by teacher name; `ensemble` has the scores of the teachers' mean and vote, if there are several."""

    logits: Mapping[str, list[Tensor]]  # for this worker's evaluation batches, on the CPU
    figures: Mapping[str, Figures]
    ensemble: Mapping[str, Mapping[str, float]]

    def lines(self, classes: int, validation: bool) -> Iterator[str]:
        """One line with each teacher's accuracy, and a warning if it is hardly above chance."""
        for name, figures in self.figures.items():
            split = "validation" if validation else "test"
            line = f"teacher {name}: top-1 {100 * figures.top1:.2f} % on the {split} split"
            if figures.top1 <= 1 / classes + NEAR_CHANCE * (1 - 1 / classes):
                line = (
                    f"warning: {line}, close to chance ({100 / classes:.2f} %): check its training, its "
                    "classes and its normalisation"
                )
            yield line


def measure_teachers(experiment: Experiment, teachers: Sequence[FrozenTeacher]) -> MeasuredTeachers:
    """Evaluate each teacher that knows the data's classes; a collective of all workers.

    Raises UserError naming a teacher with non-finite outputs.
    """
    knowing = [teacher for teacher in teachers if teacher.knows_classes]
    data, context, device = experiment.test_data, experiment.autocast, experiment.placement.device
    logits = {t.name: collect(t.network, data.batches(), context) for t in knowing}
    if not logits:
        return MeasuredTeachers({}, {}, {})
    batches = iter(zip(*logits.values()))

    def replay(images: Tensor) -> dict[str, Tensor]:
        members = dict(zip(logits, (outputs.to(device) for outputs in next(batches))))
        return members | combined(members)

    try:
        figures = evaluate(replay, data.batches(), context, {})[0]
    except NotFiniteError as error:
        paths = ", ".join(f"{teacher.name} is {teacher.path}" for teacher in knowing)
        raise UserError(
            f"teachers: {error}; {paths}: the weights are damaged, or too large for this precision"
        ) from None
    ensemble = scores({name: each for name, each in figures.items() if name not in logits})
    return MeasuredTeachers(logits, {name: figures[name] for name in logits}, ensemble)

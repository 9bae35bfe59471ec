"""Evaluation of a run's newest checkpoint."""

from collections.abc import Callable

from raykd import UserError
from raykd.runs.checkpoints.checkpoint import newest
from raykd.storage.folder import Folder
from raykd.training.evaluation.evaluate import evaluate
from raykd.training.setup import Experiment
from raykd.training.update.nonfinite import NotFiniteError


def evaluate_newest(
    experiment: Experiment, run: Folder, complain: Callable[[str], None]
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Metrics of each network by name, the deployed one first, and the method's own measures, on the test split.

    experiment: of the run's recipe. complain: called for each damaged checkpoint.
    Raises UserError if the run has no readable checkpoint, and for outputs that are not finite.
    """
    state, checkpoint = experiment.new_state(), newest(run, complain)
    if checkpoint is None:
        raise UserError(f"{run} has no readable checkpoint to evaluate: train it first, or restore one from a copy")
    state.restore(checkpoint[0])
    distiller, batches = state.evaluated.eval(), experiment.test_data.batches()
    metrics = experiment.recipe.metrics
    try:
        figures, measures = evaluate(distiller.predict, batches, experiment.autocast, {}, distiller.measure, metrics)
    except NotFiniteError as error:
        raise UserError(f"{run}: {error}") from None
    return {name: {**each.means, "ece": each.ece} for name, each in figures.items()}, measures

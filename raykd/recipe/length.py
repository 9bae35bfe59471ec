"""How long a run is, in updates: those of the initialise phase first, then those of the training."""

from raykd.recipe import Recipe


def initial_steps(recipe: Recipe, size: int) -> int:
    """Updates of the initialise phase; 0 where the recipe has none."""
    return _steps(recipe.initialise.epochs, recipe, size)


def total_steps(recipe: Recipe, size: int) -> int:
    """Updates of a whole run, both phases."""
    return initial_steps(recipe, size) + _steps(recipe.epochs, recipe, size)


def epoch_at(step: int, recipe: Recipe, size: int) -> float:
    """Passes over the training split before a step, counted from where the training begins; before that, below 0."""
    return (step - initial_steps(recipe, size)) * recipe.batch_size / size


def epoch_end(epoch: int, recipe: Recipe, size: int) -> int:
    """The first step that lies at or past the end of `epoch` passes, or the run's last."""
    end = initial_steps(recipe, size) - (-epoch * size // recipe.batch_size)
    return min(total_steps(recipe, size), end)


def _steps(epochs: float, recipe: Recipe, size: int) -> int:
    """Full global batches in as many passes, at least one."""
    return max(1, int(epochs * size // recipe.batch_size)) if epochs else 0

"""The length of a run in updates: first the initialise phase, then the training."""

from raykd.recipe import Recipe


def initial_steps(recipe: Recipe, size: int) -> int:
    """Number of updates of the initialise phase; 0 if the recipe has none."""
    return _steps(recipe.initialise.epochs, recipe, size)


def total_steps(recipe: Recipe, size: int) -> int:
    """Number of updates of a run, both phases."""
    return initial_steps(recipe, size) + _steps(recipe.epochs, recipe, size)


def epoch_at(step: int, recipe: Recipe, size: int) -> float:
    """Epochs before a step, counted from the beginning of the training; negative in the initialise phase."""
    return (step - initial_steps(recipe, size)) * recipe.batch_size / size


def epoch_end(epoch: int, recipe: Recipe, size: int) -> int:
    """The first step at or after the end of an epoch; at most the run's last."""
    end = initial_steps(recipe, size) - (-epoch * size // recipe.batch_size)
    return min(total_steps(recipe, size), end)


def _steps(epochs: float, recipe: Recipe, size: int) -> int:
    """Number of full global batches in some epochs, at least one."""
    return max(1, int(epochs * size // recipe.batch_size)) if epochs else 0

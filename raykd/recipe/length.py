"""How long a run is, in updates."""

from raykd.recipe import Recipe


def total_steps(recipe: Recipe, size: int) -> int:
    """Updates of a whole run: full global batches in `epochs` passes."""
    return max(1, int(recipe.epochs * size // recipe.batch_size))


def epoch_end(epoch: int, recipe: Recipe, size: int) -> int:
    """The first step that lies at or past the end of `epoch` passes, or the run's last."""
    return min(total_steps(recipe, size), -(-epoch * size // recipe.batch_size))

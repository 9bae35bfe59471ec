"""`raykd new` writes the recipe's file if it does not exist yet."""

from pathlib import Path

from raykd import UserError
from raykd.api.new.choices import Choices, choose
from raykd.api.new.options import NewOptions
from raykd.api.new.text import recipe_text
from raykd.data.storage.prepare import Tick, no_progress
from raykd.storage import atomic


def new_recipe(to: Path, options: NewOptions, progress: Tick = no_progress, download: bool = False) -> Choices:
    """Write a recipe; raises UserError if the file exists, and for data or networks that can't be used.

    The data set's .beton files are also written, as training would write them.
    """
    if to.suffix != ".py" or not to.stem.isidentifier():
        raise UserError(f"{to}: a recipe's file name must be a Python name, like my_recipe.py")
    if to.exists() or to.is_symlink():
        raise UserError(f"{to} already exists: give another name")
    if not to.absolute().parent.is_dir():
        raise UserError(f"{to.parent} is not a folder: create it, or give another path")
    choices = choose(options, progress, download)
    text = recipe_text(to, choices)
    atomic.write(to, text.encode())
    return choices

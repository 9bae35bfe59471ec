"""The plan of a run from what a user gives: a recipe or its file, a name, a storage."""

from pathlib import Path

from raykd import UserError
from raykd.launch.driver.display import Display
from raykd.launch.driver.run import default_storage, lasting, print_storage
from raykd.launch.driver.run_plan import RunPlan
from raykd.recipe import Recipe
from raykd.recipe.files.load import Loaded, load, load_object
from raykd.terminal import Terminal


def plan_run(recipe: Recipe | str | Path, name: str, storage: str | Path, show: bool) -> RunPlan:
    """Load a recipe. name: "" for that of its file. storage: "" for $RAYKD_STORAGE or ./runs. show: print progress."""
    loaded, name = loaded_as(recipe, name)
    storage = str(storage) or default_storage()
    display = display_in(storage, show)
    return RunPlan(loaded=loaded, recipe=loaded.recipe, name=name, storage=storage, display=display)


def display_in(storage: str, show: bool = True) -> Display:
    """A progress display; raises UserError for a storage that would be lost with a Ray job's folder."""
    lasting(storage)
    display = Display(Terminal(quiet=not show))
    print_storage(storage, display)
    return display


def loaded_as(recipe: Recipe | str | Path, name: str) -> tuple[Loaded, str]:
    """A recipe with its sources, and its run's name: the given one, or else from the recipe's folder and file.

    Raises UserError if the recipe can't be loaded, or if it isn't from a file and no name is given.
    """
    if not isinstance(recipe, Recipe):
        loaded = load(recipe)
        return loaded, name or default_name(loaded.path)
    if not name:
        raise UserError("name: a recipe that is not read from a file needs one, e.g. name='mine/kd'")
    return load_object(recipe, name), name


def default_name(path: Path) -> str:
    """A run's name from a recipe's folder and file: recipes/digits/kd.py is digits/kd."""
    return "/".join(filter(None, (path.parent.name, path.stem)))

"""What is to be run: a recipe with its sources, a name, a storage, and a progress display."""

from dataclasses import dataclass

from raykd.launch.driver.display import Display
from raykd.recipe import Recipe
from raykd.recipe.files.load import Loaded
from raykd.storage.folder import Folder


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """A recipe with its sources, and the name, storage and display of its run, search or cache."""

    loaded: Loaded
    recipe: Recipe
    """The loaded recipe with overrides."""
    name: str
    storage: str
    """Folder or URI of all runs."""
    display: Display

    @property
    def run(self) -> Folder:
        """The run's directory."""
        return Folder(self.storage) / self.name

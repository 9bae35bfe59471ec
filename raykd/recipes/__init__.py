"""The recipes that ship with raykd: in a checkout the folder `recipes` next to this package, in a wheel this folder.

`from raykd.recipes.digits.kd import recipe` works in both; a wheel has the recipes here instead of this file.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[2] / "recipes")]

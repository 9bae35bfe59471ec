"""Studies, tables of runs: their definition in a file, their cells, which are ordinary recipes, and overrides.

Called by launch, reports, the API and commands, and imported by study files. It never imports what trains, or Ray.
"""

from raykd.recipe.study.table import Column, Quotes, Row, Study

__all__ = ["Column", "Quotes", "Row", "Study"]

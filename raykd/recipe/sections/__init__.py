"""The dataclasses of a recipe, a module for each section, under the names that raykd.recipe offers.

Imported by raykd.recipe alone. It imports ranges, and the sections of data and networks, and never what reads a recipe.
"""

"""The dataclasses of a recipe, a module for each section, under the names that raykd.recipe offers.

Imported by raykd.recipe only. It imports ranges and the sections of data and networks, and nothing that reads recipes.
"""

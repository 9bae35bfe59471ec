"""Recipes as Python files: found by path or name, imported, their sources collected, and written.

Called by launch, runs, the API and commands. It imports neither studies nor what trains.
"""

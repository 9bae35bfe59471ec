"""Teachers that a recipe has trained first: found, trained side by side, measured together, their outputs kept ahead.

Called by commands, search and study.
"""

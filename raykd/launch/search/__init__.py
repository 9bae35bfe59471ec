"""A search over a recipe's fields: its space, its trials, the best of them.

Called by `raykd tune`.
"""

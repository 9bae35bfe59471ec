"""Hyper-parameter search over a recipe's fields: search space, trials, the best trial.

Called by `raykd tune`, `raykd.tune` and study, which it never imports.
"""

"""Weights & Biases: a run's own log, its files, and its upload later on.

Called by launch's recorder, `raykd sync` and the report's publishing. The only room that imports wandb.
"""

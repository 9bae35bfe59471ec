"""Weights & Biases: a run's log, its files, and its later upload.

Called by launch's recorder, `raykd sync` and the report's publishing. The only room that imports wandb.
"""

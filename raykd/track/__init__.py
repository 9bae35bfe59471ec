"""Weights & Biases: logging of a run, its later upload, and download of runs.

Called by launch's recorder, `raykd sync` and reports. The only room that imports wandb; it never imports launch.
"""

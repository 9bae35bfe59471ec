"""Weights & Biases: logging of a run, its later upload, and download of runs.

Called by launch's recorder, `raykd sync` and reports. The only package that imports wandb; it never imports launch.
"""

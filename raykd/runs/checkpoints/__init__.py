"""Checkpoints of a run: their files, the thread that writes them, and resuming from them.

Called by launch and the API. It never imports recipes, data, training or Ray.
"""

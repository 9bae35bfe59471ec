"""The files of a run, and how they are read: its directory, checkpoints, student, results.

Called by launch, reports and commands. It never trains and never imports data or Ray.
"""

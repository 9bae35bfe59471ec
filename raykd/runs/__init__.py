"""What a run leaves, and how it is read: its directory, checkpoints, student, results.

Called by launch, report and commands. It never trains and never imports data or Ray.
"""

"""The files of a run, and how they are read: its directory, attempts, checkpoints, student, results.

Called by teachers, track, launch, reports, deploy, the API and commands. It never trains and never imports Ray.
"""

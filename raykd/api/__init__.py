"""What `import raykd` offers: training, searches, studies, reports, jobs, and the runs that they leave.

Called by users and by the commands, which parse their arguments and call these functions; never imports a command.
Each name is imported when it is first used, see `raykd/__init__.py`.
"""

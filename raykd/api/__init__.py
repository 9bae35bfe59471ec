"""The functions and results of `import raykd`: training, searches, studies, reports, jobs, runs.

Called by users, and by the commands after parsing their arguments; never imports a command. Each name is imported when
it is first used, see `raykd/__init__.py`.
"""

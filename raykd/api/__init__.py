"""What `import raykd` offers: training, searches, studies, reports, jobs, and the runs that they leave.

The commands parse their words and call these functions. Nothing here is imported before it is used: `raykd/__init__.py`
says where each name is.
"""

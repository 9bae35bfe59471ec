"""The comparison of runs, searches and studies, written by `report.report`.

Called by api and launch.study; it never trains, and imports neither torch nor Ray. A report is made in four steps:
collect (files into validated values), compare (runs into rows), measures and tables (numbers, tests), output.
"""

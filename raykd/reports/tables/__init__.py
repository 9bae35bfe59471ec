"""What tables are made of, as plain values: statistics, published figures, a study's rows and columns.

Called by the other modules of reports and by launch.study; never reads a run's files.
"""

"""Functions that start work: training, searches, studies, on this machine or as a Ray job on a cluster.

Called by users, as functions of raykd, and by the commands. They never parse arguments.
"""

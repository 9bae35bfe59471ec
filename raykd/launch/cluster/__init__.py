"""The Ray cluster: connection, capacity for workers, signals and preemption.

The lowest package of launch; it imports none of the others.
"""

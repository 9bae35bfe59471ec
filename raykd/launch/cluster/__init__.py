"""The Ray cluster: connection, capacity for workers, signals and preemption.

The lowest room of launch; it imports none of the others.
"""

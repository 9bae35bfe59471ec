"""The Ray cluster: connection, capacity for workers, signals, preemption and failures.

The lowest room of launch; it imports none of the others.
"""

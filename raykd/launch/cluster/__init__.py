"""The cluster itself: the connection, room for workers, signals, losses, and what drivers and workers tell each other.

The lowest room of launch; it imports none of the others.
"""

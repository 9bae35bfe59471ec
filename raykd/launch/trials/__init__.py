"""Runs side by side on one cluster by Ray Tune: how many at once, each in a process of its own, what is seen of them.

Called by teachers, search and study, which it never imports. Jobs are ordinary runs; a search has trials of its own.
"""

"""Parallel runs on one cluster by Ray Tune: concurrency, one process for each run, progress display.

Called by teachers, search and study; never imports them. Jobs are ordinary runs; a search has its own trials.
"""

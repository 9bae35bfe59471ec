"""Runs inside a worker: its share of the training; rank 0 also writes the run's files.

Started by the driver or by a trial; never imports either.
"""

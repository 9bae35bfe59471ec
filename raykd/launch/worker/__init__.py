"""What runs inside a worker: its share of a run, and what the first worker leaves of it.

Started by the driver or by a trial; never imports either.
"""

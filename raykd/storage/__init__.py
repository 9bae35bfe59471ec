"""Files on any storage: atomic writes, retries while storage is unavailable, one writer at a time.

Called by everything that writes; knows nothing of runs, recipes or networks, and imports only raykd.output.
"""

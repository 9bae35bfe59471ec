"""Files on any storage: atomic writes, retries while storage is unavailable, one writer at a time.

Called by everything that writes. It knows nothing of runs, recipes or networks.
"""

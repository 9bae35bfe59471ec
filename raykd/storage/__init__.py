"""Files of any storage: whole or not there, tried again while a storage is away, one writer at a time.

Called by everything that writes. It knows nothing of runs, recipes or networks.
"""

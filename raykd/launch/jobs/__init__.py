"""Ray jobs: what is sent to a cluster, and W&B's key on its way there.

Called by `raykd submit` and by drivers.
"""

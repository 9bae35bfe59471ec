"""Ray jobs: packaging and submission, and the transport of W&B's key.

Called by `raykd submit` and by drivers; never imports them or the workers.
"""

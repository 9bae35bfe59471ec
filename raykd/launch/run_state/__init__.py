"""The state that a run's driver and workers share through a Ray actor, and their messages.

Called by launch.driver and launch.worker. Never imports either of them.
"""

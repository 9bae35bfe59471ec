"""The state that a run's driver and workers share through a Ray actor, their messages, and why a run failed.

Called by launch.driver and launch.worker. Never imports either of them.
"""

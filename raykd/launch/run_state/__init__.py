"""The state that a run's driver and workers share through a Ray actor, and the messages that they exchange.

Called by launch.driver and launch.worker. Never imports either of them.
"""

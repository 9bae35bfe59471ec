"""Measures the parts of a recipe's step on this machine.

Called by `raykd bench` and by the estimate of studies; runs the real loop, and never imports launch.
"""

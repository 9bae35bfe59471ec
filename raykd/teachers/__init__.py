"""Frozen teachers: loading, matching of classes, one pass for each batch, and the cache of their outputs.

Called by training, launch and bench; never imports the loop.
"""

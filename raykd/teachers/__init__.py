"""Frozen teachers: loading, matching of classes, one pass for each batch, and the cache of their outputs.

Called by train and launch; never imports the loop.
"""

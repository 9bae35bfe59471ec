"""Frozen teachers: loaded, matched by their classes, run once a batch, their outputs kept in files.

Called by train and launch; never imports the loop.
"""

"""Compiled kernels: decoding, cropping and resizing of a batch of images, and colour operations.

Called by raykd.data.ffcv.engine; never imports what reads files. Arithmetic is strict (no fastmath), so that all
machines compute the same pixels.
"""

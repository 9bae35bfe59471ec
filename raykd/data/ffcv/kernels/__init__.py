"""Compiled kernels: reading a batch of images by way of their crops, and colour operations.

Called by raykd.data.ffcv.engine; never imports what reads files. Arithmetic is strict (no fastmath), so that other
machines get the same pixels.
"""

"""Augmentation as pure functions of (seed, pass, index): random draws, geometry and colours.

Called by the loader and its engines; imports neither FFCV nor torch's data loaders.
"""

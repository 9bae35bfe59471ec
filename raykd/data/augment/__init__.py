"""Augmentation as pure functions of (seed, pass, index): what is drawn, and the geometry and colours that follow.

Called by the loader and its engines; imports neither FFCV nor torch's loaders.
"""

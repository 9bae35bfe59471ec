"""Data sets: read from sources, written once as .beton files, loaded with FFCV, and augmented by pure functions of
(seed, pass, index).

Called by recipe, training, launch, commands and deploy; never imports models, methods or training.
"""

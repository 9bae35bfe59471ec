"""Teachers that are trained before the student: look-up, parallel training, ensemble accuracy, precomputed outputs.

Called by commands, api, search and study; never imports search or study.
"""

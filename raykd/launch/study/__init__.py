"""Studies: a table of runs and their teachers trained side by side, recorded so that a report shows them as a table.

Called by commands. It runs nothing itself: `trials` runs the cells, `teachers` plans their teachers, `search` tunes.
"""

"""Studies: a table of runs and their teachers, trained in parallel and recorded for the report.

Called by commands and api. It trains nothing itself: `trials` runs the cells, `teachers` plans their teachers, `search`
tunes; none of these imports it.
"""

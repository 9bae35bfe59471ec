"""One run from the driver's side: checked, started over workers or in this process, shown, ended.

Called by commands, and by launch's searches and teachers for each of theirs.
"""

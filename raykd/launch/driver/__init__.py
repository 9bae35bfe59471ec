"""The driver of one run: validates it, starts it on workers or in this process, shows its progress, ends it.

Called by commands, and by searches and teachers for each of their runs.
"""

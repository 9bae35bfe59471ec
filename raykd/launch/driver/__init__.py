"""The driver of one run: validates it, starts it on workers or in this process, shows its progress, ends it.

Called by commands and api, and by teachers, search and study, which it never imports.
"""

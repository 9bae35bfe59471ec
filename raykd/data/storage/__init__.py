"""The .beton files: written once from a source, described by a manifest, stored by content.

Called by the loader, `raykd data` and launch; never imports the readers.
"""

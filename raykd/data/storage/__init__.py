"""The .beton files: written once from a source, described by a manifest, in a folder named by their content.

Called by the loader, `raykd data` and launch; never imports the readers.
"""

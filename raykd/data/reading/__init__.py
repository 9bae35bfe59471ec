"""Reading of images, labels and folders, shared by all sources.

Called by sources, to list files and number labels, and by the writer, to decode images. Imports no source.
"""

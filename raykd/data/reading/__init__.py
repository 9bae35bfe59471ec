"""Reading of images, labels and folders, shared by all sources.

Sources call it to list files and number labels, the writer to decode images. It imports no source.
"""

"""Batches on their way to the device: copies that never read changed memory, and normalisation.

Called by the loader and its engines; teachers and training copy by it too. Imports only the data's settings.
"""

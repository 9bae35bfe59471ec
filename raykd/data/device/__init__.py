"""Batches on their way to the device: copies that never read changed memory, normalisation; numbers on their way back.

Called by the loader and its engines; teachers and training copy and fetch by it too. Imports only the data's settings.
"""

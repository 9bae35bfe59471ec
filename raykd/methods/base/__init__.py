"""Base classes of the methods, and code that they share: checks of networks, feature maps, weights of teachers.

Imported by methods only. Only `multi_teacher` is a method of its own.
"""

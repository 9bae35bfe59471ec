"""Base classes of the methods, and what they share: checks of networks, feature maps, weights of teachers.

Imported by methods alone; imports no single method.
"""

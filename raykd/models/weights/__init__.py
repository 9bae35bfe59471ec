"""Weights of networks from files, URLs and libraries, read without executing code in them.

Called by models.creation, teachers, recipe and commands. Never imports training, methods or data.
"""

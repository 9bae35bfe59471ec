"""Weights from files, URLs and libraries into networks, read without running anybody's code.

Called by models.creation, teachers, recipe and commands. Never imports training, methods or data.
"""

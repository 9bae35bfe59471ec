"""Snippets and commands of the documents are extracted and run in a folder outside the checkout."""

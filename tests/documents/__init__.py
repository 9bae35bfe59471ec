"""The documents are true: their snippets and commands are extracted and run in a folder outside the checkout."""

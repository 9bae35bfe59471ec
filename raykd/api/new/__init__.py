"""A recipe for one's own images: what is measured on them, what is chosen for them, and the file's text."""

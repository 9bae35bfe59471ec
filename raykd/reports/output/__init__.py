"""The comparison as a page, as tables for documents and papers, as CSV, and as a W&B Report."""

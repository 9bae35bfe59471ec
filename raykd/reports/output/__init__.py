"""The formats of a report: HTML page, Markdown, LaTeX, CSV, and a W&B Report.

Called by reports.report; formats the numbers of `make.Report` and computes none; never imports what reads runs.
"""

"""The comparison of runs, searches and studies, which `report.report` writes. Nothing here trains or imports torch.

A report is made in four steps: collect (files into checked values), compare (runs into rows), measures and tables
(numbers, tests), output (HTML, Markdown, CSV, LaTeX, W&B). `drawing` makes the figures.
"""

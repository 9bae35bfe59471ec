"""Figures as inline SVG, coloured by the page's style sheet.

Called by reports.output.page only; knows rows and statistics, never files.
"""

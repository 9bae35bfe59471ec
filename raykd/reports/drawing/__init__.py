"""Figures as inline SVG, coloured by the page's style sheet.

Called by reports.output.page only; knows curves and statistics, never runs or files.
"""

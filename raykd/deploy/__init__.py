"""Deployment of a finished run's student: files for other programs, and predictions from Python.

Called by the commands and by the public API. It reads runs, data and networks; it never imports Ray, W&B or the report.
"""

"""The files of a run that others read, as validated values: result, metrics, evaluation, deployment.

Called by reports, launch, deploy, track and commands. Files are untrusted: reading never imports what they name.
"""

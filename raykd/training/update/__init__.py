"""One update of the distiller's parameters: loss, gradients, optimizer, running average, checks for non-finite values.

Called by training.loop, training.evaluation and bench. Never imports the loop, Ray or W&B.
"""

"""One update of the distiller's parameters: loss, gradients, optimizer, running average, and what is checked of it.

Called by train.loop, train.evaluation and bench. Never imports the loop, Ray or W&B.
"""

"""Evaluation of networks: the student and its ensembles during training, teachers before the first step.

Called by training.loop, launch, bench and commands. Never imports the loop, Ray or W&B.
"""

"""The training loop and its parts: setting up an experiment, the update step and its state, evaluation.

Called by launch, bench and commands. Nothing here imports Ray or W&B; workers communicate by torch.distributed only.
"""

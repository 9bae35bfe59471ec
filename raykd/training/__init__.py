"""The training loop and its parts: setting up an experiment, the update step and its state, evaluation.

Called by launch, bench and commands. Nothing here imports Ray, W&B, or anything that knows of several processes but
torch.distributed.
"""

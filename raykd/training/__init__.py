"""The training loop and what surrounds a step: setting an experiment up, evaluating, what a checkpoint holds.

Called by launch, bench and commands. Nothing here imports Ray, W&B, or anything that knows of several processes but
torch.distributed.
"""

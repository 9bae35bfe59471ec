"""Random state as a pure function of seed, step and worker."""

import torch


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step (dropout): a function of seed, step and rank, so checkpoints need no random state."""
    torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)

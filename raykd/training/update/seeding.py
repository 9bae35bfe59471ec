"""Random state as a pure function of seed, step and worker."""

import torch


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step (dropout): randomness is a function of seed, step and rank; no checkpoint holds it."""
    torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)

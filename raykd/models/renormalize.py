"""A frozen network that expects pixels normalised otherwise than the data's: one affine map before it."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from raykd.contract import Output
from raykd.models.staged import Staged


class Renormalized(Staged):
    """The same network (the same modules) for images of another normalisation; images [B, 3, H, W] as before.

    `run_from` starts behind the map: what `trunk` returns, for "stem" too.
    """

    def __init__(self, staged: Staged, scale: Tensor, shift: Tensor):
        nn.Module.__init__(self)
        self.model = staged.model
        self.name, self.num_classes, self.image_size = staged.name, staged.num_classes, staged.image_size
        self.reader, self.sections, self.shapes = staged.reader, staged.sections, staged.shapes
        self.pre = staged.pre
        # Not part of the checkpoint: the recipe gives them.
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)
        self.train(staged.training)

    def renormalize(self, images: Tensor) -> Tensor:
        return images * self.scale.to(images.dtype) + self.shift.to(images.dtype)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.renormalize(images))

    def output(self, images: Tensor, features: Collection[str]) -> Output:
        return super().output(self.renormalize(images), features)

    def trunk(self, images: Tensor, before: str) -> Tensor:
        return super().trunk(self.renormalize(images), before)


def renormalize(
    staged: Staged,
    from_mean: Sequence[float],
    from_std: Sequence[float],
    to_mean: Sequence[float],
    to_std: Sequence[float],
) -> Staged:
    """`staged`, which expects (to_mean, to_std), for images normalised by (from_mean, from_std), each of 3 channels.

    Returns `staged` itself where both are the same.
    """
    if tuple(from_mean) == tuple(to_mean) and tuple(from_std) == tuple(to_std):
        return staged
    mean, std, own_mean, own_std = (
        torch.tensor(x, dtype=torch.float64) for x in (from_mean, from_std, to_mean, to_std)
    )
    device = next(staged.model.parameters()).device
    return Renormalized(staged, (std / own_std).to(device), ((mean - own_mean) / own_std).to(device))

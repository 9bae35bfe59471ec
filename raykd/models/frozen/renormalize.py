"""Adapts a frozen network that expects another normalisation or image size than the data's."""

from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.contract import Output
from raykd.models.staged import Staged


class Renormalized(Staged):
    """The same network (the same modules) for images [B, 3, H, W] of another normalisation or size.

    `run_from` takes what `trunk` returns; for "stem" that is renormalised already.
    """

    scale: Tensor  # [1, 3, 1, 1]
    shift: Tensor

    def __init__(self, staged: Staged, scale: Tensor, shift: Tensor, image_size: int):
        nn.Module.__init__(self)
        self.model = staged.model
        # All that describes the network; attributes that begin with "_" are torch's own.
        vars(self).update({name: value for name, value in vars(staged).items() if not name.startswith("_")})
        self.native_size, self.image_size = staged.image_size, image_size
        # Not saved: they follow from the recipe.
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)
        self.train(staged.training)

    def renormalize(self, images: Tensor) -> Tensor:
        images = images * self.scale.to(images.dtype) + self.shift.to(images.dtype)
        size = (self.native_size, self.native_size)
        if self.native_size == self.image_size:
            return images
        return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)

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
    from_size: int = 0,
) -> Staged:
    """`staged`, which expects (to_mean, to_std), for images normalised by (from_mean, from_std), each of 3 channels.

    from_size: the side of the images, which are resized to the network's own if it differs (bilinear, antialiased); 0:
    the same. Returns `staged` itself if nothing differs.
    """
    size = from_size or staged.image_size
    same = tuple(from_mean) == tuple(to_mean) and tuple(from_std) == tuple(to_std)
    if same and size == staged.image_size:
        return staged
    mean, std, own_mean, own_std = (
        torch.tensor(x, dtype=torch.float64) for x in (from_mean, from_std, to_mean, to_std)
    )
    device = next(staged.model.parameters()).device
    return Renormalized(staged, (std / own_std).to(device), ((mean - own_mean) / own_std).to(device), size)

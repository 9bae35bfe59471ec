"""Networks, all seen through one view: `Staged`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raykd.models.staged import Staged


def create(name: str, num_classes: int, image_size: int, weights: str = "") -> "Staged":
    """The network `name` for square images of image_size pixels, fresh or with weights.

    name: one of `names()`, `torchvision:NAME`, or `timm:NAME`. weights: "" fresh, "pretrained" the library's own, else a
    file. Raises UserError for unknown names, families that can't be staged, and weights that don't fit.
    """
    from raykd.models.creation import create as build

    return build(name, num_classes, image_size, weights)


def names() -> list[tuple[str, str]]:
    """Every network that raykd defines itself, with a line about it; then how to name those of the libraries."""
    from raykd.models.creation import names as listing

    return listing()

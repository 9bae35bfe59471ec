"""Networks, all seen through one view: `Staged`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raykd.models.staged import Staged


def create(name: str, num_classes: int, image_size: int, weights: str = "") -> "Staged":
    """The network `name` for square images of image_size pixels, fresh or with weights.

    name: one of `names()`, `torchvision:NAME`, or `timm:NAME` (timm's NAME.TAG picks its weights).
    weights: "" fresh; "pretrained" the library's own, with a fresh last layer where num_classes differs; else a file
    (.safetensors, .pth, BiT's .npz), which must fit in the number of classes too, unless "#backbone" follows its name:
    then all but the last layer is taken. Batch counters apart, nothing may be missing or left over.
    Raises UserError for unknown names, families that can't be staged, images too small, and weights that don't fit.
    """
    from raykd.models.creation import create as build

    return build(name, num_classes, image_size, weights)


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels that a library's pretrained network expects; see `renormalize`."""
    from raykd.models.creation import normalization as expected

    return expected(name)


def names() -> list[tuple[str, str]]:
    """Every network that raykd defines itself, with a line about it; then how to name those of the libraries."""
    from raykd.models.creation import names as listing

    return listing()

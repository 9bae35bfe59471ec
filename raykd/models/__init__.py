"""Networks, all seen through one view: `Staged`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from raykd.models.config import Network

if TYPE_CHECKING:
    from raykd.models.staged import Staged
    from raykd.models.weights.library import Published


def create(
    name: str,
    num_classes: int,
    image_size: int,
    weights: str = "",
    options: Mapping[str, Any] = {},  # noqa: B006  never changed
    stages: Sequence[str] = (),
) -> "Staged":
    """The network `name` for square images of image_size pixels, fresh or with weights.

    name: one of `names()`, `torchvision:NAME`, `timm:NAME` (timm's NAME.TAG picks its weights), `hf:NAME`, or
    `MODULE:CALLABLE` of a module that came with the recipe.
    num_classes: 0 for features alone, where the library has such networks.
    weights: "" fresh; "pretrained" the library's own, with a fresh last layer where num_classes differs; else a file
    (see `raykd.models.weights`), which must fit in the number of classes too, unless "#backbone" follows its name:
    then all but the last layer is taken. Batch counters apart, nothing may be missing or left over.
    options: keywords for the library's builder or the callable. stages: modules whose outputs are the stages' maps,
    where the library does not say.
    Raises UserError for unknown names, images too small, options that don't exist, and weights that don't fit.
    """
    from raykd.models.creation import create as build

    return build(name, num_classes, image_size, weights, options, stages)


def create_network(network: Network, num_classes: int, image_size: int) -> "Staged":
    """What `create` makes of a recipe's network."""
    made = create(network.name, num_classes, image_size, network.weights, network.options, network.stages)
    if network.zero_head:
        from raykd.models.initial import zero_classifiers

        zero_classifiers(made)
    if network.int8:
        from raykd.models.fake_int8 import train_in_int8

        train_in_int8(made)
    return made


def published(name: str) -> "Published":
    """What a library says of its pretrained weights: the images and the classes that they were trained with.

    Raises UserError where `name` has none.
    """
    from raykd.models.weights.library import published as look_up

    return look_up(name)


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels that a library's pretrained network expects."""
    about = published(name)
    return about.mean, about.std


def names() -> list[tuple[str, str]]:
    """Every network that raykd defines itself, with a line about it; then how to name those of the libraries."""
    from raykd.models.creation import names as listing

    return listing()

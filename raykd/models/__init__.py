"""Networks, all with the interface of `Staged`: logits, features by name, and access to the stages of chains.

Called by methods, teachers, training, recipe and deploy; never imports data, methods or training.
"""

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
    """Create the network `name` for square images with sides of image_size pixels.

    name: one of `names()`, `torchvision:NAME`, `timm:NAME` (timm's NAME.TAG selects its weights), `hf:NAME`, or
    `MODULE:CALLABLE` of a module that came with the recipe.
    num_classes: 0 for features only, if the library has such networks.
    weights: "": random initialisation. "pretrained": the library's own weights, with a new last layer if num_classes
    differs. Else a file (see `raykd.models.weights`), whose number of classes must fit too, unless its name is followed
    by "#backbone": then all but the last layer is loaded. Except for batch counters, no key may be missing or
    unexpected.
    options: keywords for the library's builder or the callable. stages: modules whose outputs are the stages' maps,
    if the library does not define them.

    Raises UserError for unknown names, images that are too small, unknown options, and weights that don't fit.
    """
    from raykd.models.creation import create as build

    return build(name, num_classes, image_size, weights, options, stages)


def create_network(network: Network, num_classes: int, image_size: int) -> "Staged":
    """Create the network that a recipe describes; other arguments and errors as of `create`."""
    built = create(network.name, num_classes, image_size, network.weights, network.options, network.stages)
    if network.zero_head:
        from raykd.models.heads import zero_classifiers

        zero_classifiers(built)
    if network.int8:
        from raykd.models.fake_int8 import train_in_int8

        train_in_int8(built)
    return built


def published(name: str) -> "Published":
    """The images and classes that a library's pretrained weights were trained on.

    Raises UserError if `name` has none.
    """
    from raykd.models.weights.library import published as look_up

    return look_up(name)


def names() -> list[tuple[str, str]]:
    """Names of the networks that raykd defines, each with one line about it; then the forms of all other names."""
    from raykd.models.creation import names as listing

    return listing()

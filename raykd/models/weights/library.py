"""The metadata of libraries' pretrained weights: the images and classes that they were trained on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from raykd import UserError
from raykd.models.config import LIBRARIES
from raykd.models.libraries import module_of
from raykd.output import message_of

UNKNOWN = (OSError, RuntimeError, ValueError, LookupError)
Channels = tuple[float, float, float]


class Published(NamedTuple):
    """The images and classes that a network was trained on; mean and std of pixels scaled to [0, 1]."""

    mean: Channels
    std: Channels
    image_size: int
    num_classes: int
    namings: tuple[tuple[str, ...], ...] = ()  # the classes in order, in each of their naming schemes; () if unknown


def published(name: str) -> Published:
    """The images and classes that a library's pretrained weights were trained on.

    Raises UserError if `name` has none.
    """
    library, _, inner = name.partition(":")
    readers = {"timm": _timm, "torchvision": _torchvision, "hf": _huggingface}
    if library not in readers:
        raise UserError(f"{name} has no published weights: give a file, or use a network of timm or torchvision")
    with _naming(name):
        return readers[library](inner)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Context that turns what libraries raise at names that they don't know into a UserError."""
    try:
        yield
    except UNKNOWN as error:
        raise UserError(
            f"{name} has no published weights ({message_of(error)}): see `raykd list models`, or give a file"
        ) from error


def expect_cached(name: str) -> None:
    """Raise UserError if a library's weights are not on this machine: downloads have to be allowed."""
    library, _, inner = name.partition(":")
    if library not in LIBRARIES:
        return
    with _naming(name):
        cached = module_of(library).is_cached(inner)
    if not cached:
        raise UserError(
            f"the weights of {name} are not on this machine: `raykd data prepare RECIPE --download` fetches them, and "
            "with --data.download each node fetches what it lacks"
        )


def _timm(name: str) -> Published:
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise UserError(f"timm has no pretrained weights for {name}: give a file")
    labels = () if config.label_names is None else (tuple(config.label_names),)
    return Published(
        tuple(config.mean),
        tuple(config.std),
        config.input_size[-1],
        config.num_classes,
        labels or imagenet(config.num_classes),
    )


def imagenet(num_classes: int) -> tuple[tuple[str, ...], ...]:
    """Names of the classes of ImageNet's subset with this number of classes: WordNet ids, descriptions, first words."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": num_classes})
    if subset is None:
        return ()
    info = ImageNetInfo(subset)
    descriptions = tuple(info.label_descriptions())
    return tuple(info.label_names()), descriptions, tuple(line.partition(",")[0] for line in descriptions)


def _torchvision(name: str) -> Published:
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    images, classes = weights.transforms(), tuple(weights.meta["categories"])
    return Published(
        tuple(images.mean), tuple(images.std), images.crop_size[0], len(classes), (classes, *imagenet(len(classes)))
    )


def _huggingface(name: str) -> Published:
    library = module_of("hf")
    try:
        config = library.configuration(name, {})
        images = library.transformers.AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
        mean, std = _pixels(images)
        size = getattr(images, "crop_size", None) or images.size
        side = int(size.get("height") or size["shortest_edge"])
        classes = tuple(str(config.id2label[i]) for i in range(config.num_labels))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f"hf:{name}: the preprocessing of its weights can't be read ({message_of(error)}): give a file"
        ) from error
    return Published(mean, std, side, len(classes), (classes,))


def _pixels(images: Any) -> tuple[Channels, Channels]:
    """Mean and deviation of pixels from 0 to 1, of a processor that scales, perhaps shifts, and perhaps normalises."""
    scale = 255 * images.rescale_factor if getattr(images, "do_rescale", True) else 255.0
    shift = float(bool(getattr(images, "rescale_offset", False)))
    mean, std = (images.image_mean, images.image_std) if images.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    red, green, blue = ((float(each) + shift) / scale for each in mean)
    return (red, green, blue), (float(std[0]) / scale, float(std[1]) / scale, float(std[2]) / scale)

"""Creates networks by name."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import nn

from raykd import UserError
from raykd.models import families, reused_head
from raykd.models.config import LIBRARIES, Network
from raykd.models.fake_int8 import train_in_int8
from raykd.models.heads import zero_classifiers
from raykd.models.libraries import module_of, own
from raykd.models.staged import Staged
from raykd.models.staged.modes import evaluating
from raykd.models.staged.parts import Parts
from raykd.models.staged.reader import Reader
from raykd.models.weights.load import load_weights
from raykd.output import message_of

LIBRARY_LINES = {
    "torchvision": "every classifier; methods with branches work with most convolutional networks and Swin",
    "timm": "every classifier; methods with branches work with most that have no class token",
    "hf": "Hugging Face's image classifiers: a hub name, a folder, or a model type; needs transformers",
}
# What libraries raise at options, configurations and sizes that a network can't have.
FAILURES = (
    OSError,
    RuntimeError,
    ValueError,
    AssertionError,
    LookupError,
    AttributeError,
    ArithmeticError,
    ImportError,
)


def create(
    name: str,
    num_classes: int,
    image_size: int,
    weights: str = "",
    options: Mapping[str, Any] = {},  # noqa: B006  never changed
    stages: Sequence[str] = (),
) -> Staged:
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
    network = Network(name, weights, options=dict(options), stages=tuple(stages))
    return create_network(network, num_classes, image_size)


def create_network(network: Network, num_classes: int, image_size: int) -> Staged:
    """Create the network that a recipe describes; other arguments and errors as of `create`."""
    staged_of = partial(Staged, name=network.name, num_classes=num_classes, image_size=image_size)
    library, colon, _ = network.name.partition(":")
    if library == reused_head.PREFIX:
        staged: Staged = reused_head.build(network.name, num_classes, image_size, network.options, create)
    elif not colon:
        staged = staged_of(_own_parts(network, num_classes, image_size))
    else:
        staged = _first_faithful(_library_views(network, num_classes, image_size), staged_of)
    staged.options, staged.stage_modules = dict(network.options), network.stages
    if network.weights not in ("", "pretrained"):
        path, backbone = network.weights.removesuffix("#backbone"), network.weights.endswith("#backbone")
        staged.weights_taken = load_weights(staged, path, without_classifier=backbone)
    if network.zero_head:
        zero_classifiers(staged)
    if network.int8:
        train_in_int8(staged)
    return staged


def names() -> list[tuple[str, str]]:
    """Names of the networks that raykd defines, each with one line about it; then the forms of all other names."""
    also = {name: f"; also {alias}" for alias, name in families.ALIASES.items()}
    defined = [(name, line + also.get(name, "")) for name, (line, _) in families.NETWORKS.items()]
    own = [("MODULE:CALLABLE", "your own: called with num_classes and the recipe's options, from MODULE.py")]
    return defined + [(f"{library}:NAME", line) for library, line in LIBRARY_LINES.items()] + own


def _own_parts(network: Network, num_classes: int, image_size: int) -> Parts:
    name = network.name
    if name not in families.NETWORKS and name not in families.ALIASES:
        raise UserError(f"unknown network {name!r}{_suggestion(name)}; `raykd list models` shows all")
    if network.weights == "pretrained":
        raise UserError(f"{name} has no published weights: give a file, or use a network of torchvision or timm")
    return families.build(name, num_classes, image_size, network.options)


def _library_views(network: Network, num_classes: int, image_size: int) -> Iterator[Parts]:
    """Ways to read the features of a library's or the user's network, the most capable first."""
    library = network.name.partition(":")[0]
    if library in LIBRARIES:
        module = module_of(library)
        model = _built(module, network, num_classes, image_size)
    elif network.weights == "pretrained":
        raise UserError(f"{network.name} has no published weights: give a file")
    else:
        module, model = own, own.build(network.name, num_classes, image_size, network.options)
    views = module.views(model, num_classes, image_size)
    return _with_stages(views, network.stages) if network.stages else views


def _with_stages(views: Iterator[Parts], stages: Sequence[str]) -> Iterator[Parts]:
    """The network with the outputs of the modules that the recipe lists as its stages."""
    *_, plain = views
    modules = {f"stage{i + 1}": path for i, path in enumerate(stages)}
    known = dict(plain.model.named_modules())
    for path in stages:
        if path not in known:
            close = difflib.get_close_matches(path, known, n=3)
            raise UserError(f"stages: the network has no module {path!r}{_did_you_mean(close)}")
    assert plain.reader is not None  # the last view always has one
    yield Parts(plain.model, reader=Reader(plain.reader.classifiers, modules))


def _built(module: ModuleType, network: Network, num_classes: int, image_size: int) -> nn.Module:
    library, _, inner = network.name.partition(":")
    if library != "hf" and inner.partition(".")[0] not in (known := module.names()):
        raise UserError(f"unknown network {network.name!r}{_did_you_mean(_close_matches(inner, known))}")
    pretrained = network.weights == "pretrained"
    build = module.pretrained if pretrained else module.build
    try:
        return build(inner, num_classes, image_size, network.options)
    except TypeError as error:  # a keyword that the builder does not have
        raise UserError(f"{network.name} can't be built with {network.options}: {message_of(error)}") from error
    except FAILURES as error:
        if not pretrained:
            options, cure = (f"{network.options} and ", "the options or ") if network.options else ("", "")
            what = f"with {options}images of {image_size}×{image_size} pixels"
            raise UserError(
                f"{network.name} can't be built {what} ({message_of(error)}): change {cure}image_size"
            ) from error
        why = f"could not be loaded ({message_of(error)})"
        raise UserError(f"the weights of {network.name} {why}; give a file") from error


def _first_faithful(views: Iterator[Parts], staged_of: Callable[[Parts], Staged]) -> Staged:
    """The first view whose logits equal those of the network's own forward pass; raises the last view's UserError."""
    rejected: UserError | None = None
    for parts in views:
        try:
            staged = staged_of(parts)
        except UserError as error:
            rejected = error
        else:
            if _is_faithful(staged):
                return staged
            # The last view, without maps, is the network's own forward pass.
            rejected = UserError(
                f"{staged.name} outputs other logits when it is run again on the same images: make it deterministic in "
                "evaluation mode"
            )
    assert rejected is not None
    raise rejected


@torch.no_grad()
def _is_faithful(staged: Staged) -> bool:
    """Whether reading all features yields the network's own logits: libraries have many variants of a family."""
    size = staged.image_size
    images = torch.linspace(-2, 2, 3 * size * size).view(1, 3, size, size)
    with evaluating(staged):
        whole, parts = staged(images), staged.output(images, tuple(staged.shapes)).logits
    return torch.allclose(whole, parts, rtol=1e-4, atol=1e-5, equal_nan=True)


def _suggestion(name: str) -> str:
    elsewhere = [f"{library}:{name}" for library in ("torchvision", "timm") if name in module_of(library).names()]
    return _did_you_mean([*elsewhere, *_close_matches(name, [*families.NETWORKS, *families.ALIASES])])


def _did_you_mean(close: Sequence[str]) -> str:
    return f": did you mean {', '.join(close)}?" if close else ""


def _close_matches(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, list(known), n=3)

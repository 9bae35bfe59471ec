"""From a name to a network."""

import difflib
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

import torch

from raykd import UserError
from raykd.models import catalogue
from raykd.models.parts import Parts
from raykd.models.staged import Staged
from raykd.models.weights import load_weights

LIBRARIES = {
    "torchvision": "ResNet, ResNeXt, Wide-ResNet, VGG, MobileNet, ShuffleNet, DenseNet, EfficientNet, ConvNeXt, RegNet",
    "timm": "the same except ShuffleNet, and SE-ResNet, SENet, BiT (resnetv2_*_bit), ResNeSt, RepVGG",
}


def create(name: str, num_classes: int, image_size: int, weights: str = "") -> Staged:
    """See `raykd.models.create`."""
    library, colon, _ = name.partition(":")
    if colon and library not in LIBRARIES:
        raise UserError(f"unknown library {library!r} in {name!r}; there are {', '.join(LIBRARIES)}")
    parts = _from_library(name, num_classes, weights) if colon else _own(name, num_classes, image_size, weights)
    staged = Staged(**parts._asdict(), name=name, num_classes=num_classes, image_size=image_size)
    if colon:
        _expect_whole(staged)
    if weights not in ("", "pretrained"):
        load_weights(staged, weights.removesuffix("#backbone"), without_classifier=weights.endswith("#backbone"))
    return staged


def names() -> list[tuple[str, str]]:
    """See `raykd.models.names`."""
    also = {name: f"; also {alias}" for alias, name in catalogue.ALIASES.items()}
    own = [(name, line + also.get(name, "")) for name, (line, _) in catalogue.NETWORKS.items()]
    return own + [(f"{library}:NAME", line) for library, line in LIBRARIES.items()]


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels that the pretrained weights of a library's network expect."""
    return _library(name).normalization(name.partition(":")[2])


def _own(name: str, num_classes: int, image_size: int, weights: str) -> Parts:
    if name not in catalogue.NETWORKS and name not in catalogue.ALIASES:
        raise UserError(f"unknown network {name!r}{_suggestion(name)}; `raykd list models` shows all")
    if weights == "pretrained":
        raise UserError(f"{name} has no published weights: give a file, or take a network of torchvision or timm")
    return catalogue.build(name, num_classes, image_size)


def _from_library(name: str, num_classes: int, weights: str) -> Parts:
    library, inner = _library(name), name.partition(":")[2]
    if inner.partition(".")[0] not in (known := library.names()):
        close = _close(inner, known)
        raise UserError(f"unknown network {name!r}{': did you mean ' + close + '?' if close else ''}")
    return (library.pretrained if weights == "pretrained" else library.build)(inner, num_classes)


def _library(name: str) -> ModuleType:
    # Imported only when asked for: timm alone takes a second or two.
    return import_module(f"raykd.models.families.{name.partition(':')[0]}")


def _suggestion(name: str) -> str:
    elsewhere = [f"{library}:{name}" for library in LIBRARIES if name in _library(library).names()]
    close = ", ".join([*elsewhere, _close(name, [*catalogue.NETWORKS, *catalogue.ALIASES])]).strip(", ")
    return f": did you mean {close}?" if close else ""


def _close(name: str, known: Iterable[str]) -> str:
    return ", ".join(difflib.get_close_matches(name, list(known), n=3))


@torch.no_grad()
def _expect_whole(staged: Staged) -> None:
    """Raise UserError unless the sections together are the network: libraries have many variants of a family."""
    training = staged.training
    staged.eval()
    size = staged.image_size
    images = torch.linspace(-2, 2, 3 * size * size).view(1, 3, size, size)
    whole, parts = staged(images), staged.output(images, ()).logits
    staged.train(training)
    if not torch.allclose(whole, parts, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise UserError(f"{staged.name} does more than its stages one after another: raykd can't stage this variant")

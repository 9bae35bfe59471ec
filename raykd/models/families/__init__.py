"""The networks that raykd defines itself, by name: a module for each family of architectures.

Called by raykd.models.creation. It imports torch, raykd.models.staged and raykd.models.libraries, and never weights.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from raykd import UserError
from raykd.models.families import (
    cifar_resnet,
    densenet,
    imagenet,
    mobilenet,
    shufflenet,
    teskd_se_resnet,
    vgg,
    wide_resnet,
)
from raykd.models.staged.parts import Parts

NETWORKS = {
    name: entry
    for family in (
        cifar_resnet,
        wide_resnet,
        vgg,
        mobilenet,
        shufflenet,
        densenet,
        teskd_se_resnet,
        imagenet,
    )
    for name, entry in family.NETWORKS.items()
}

# Names of some of them in RepDistiller's and OKDDip's scripts.
ALIASES = {
    "MobileNetV2": "mobilenetv2_half",
    "ShuffleV1": "shufflenetv1",
    "ShuffleV2": "shufflenetv2",
    "ShuffleV2_0_5": "shufflenetv2_0_5",
    "densenetd40k12": "densenet_bc_40_12",
    "densenetd100k12": "densenet_bc_100_12",
    "densenetd100k40": "densenet_bc_100_40",
    "densenetd190k12": "densenet_bc_190_12",
    "wide_resnet20_8": "okddip_wide_resnet20_8",
}


def build(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> Parts:
    """A fresh network of NETWORKS or ALIASES, initialised as in its authors' code.

    Raises UserError for unknown options and invalid values.
    """
    _, builder = NETWORKS[ALIASES.get(name, name)]
    known = options_of(builder)
    for option in options:
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it takes none"
            raise UserError(f"{name} has no option {option!r}; {has}")
    try:
        return builder(num_classes, image_size, **options)
    except (TypeError, ValueError) as error:  # dropout raises ValueError for a share outside [0, 1]
        raise UserError(f"{name} can't be built with {dict(options)}: {error}") from error


def options_of(builder: Callable[..., Parts]) -> list[str]:
    """Keywords of a builder that its entry in NETWORKS does not fix."""
    keywords = [p.name for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return [name for name in keywords if name not in getattr(builder, "keywords", {})]

"""The network section of a recipe. Importing this module costs nothing: no torch."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

from raykd.fields import Rule

LIBRARIES = ("torchvision", "timm", "hf")


def is_plain(value: Any) -> bool:
    """Whether JSON can represent a value, with tuples for lists."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    if isinstance(value, (tuple, list)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))


def with_tuples(value: Any) -> Any:
    """A plain value with tuples for its lists, so that it is the same before and after JSON."""
    if isinstance(value, dict):
        return {key: with_tuples(item) for key, item in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, (tuple, list)) else value


Options = Annotated[
    dict[str, Any], Rule("made of finite numbers, strings, booleans, None, and tuples and dicts of these", is_plain)
]
"""Keywords by name."""


@dataclass(frozen=True)
class Network:
    """One network and its initial weights."""

    name: str
    """A name of `raykd list models`, `torchvision:NAME`, `timm:NAME`, `hf:NAME`, or `MODULE:CALLABLE`: a callable in a
    module next to the recipe, which gets num_classes and the options and returns a torch.nn.Module."""
    weights: str = ""
    """Empty: random initialisation. "pretrained": the library's own weights, with a fresh last layer if the number of
    classes differs. Else a file, or a URL (https://…, file://…, hf://ORG/REPO/FILE) with its sha256; FILE#backbone: all
    but the last layer. Only `raykd data prepare RECIPE --download` and --data.download download weights."""
    sha256: str = ""
    """SHA-256 of a URL's file, 64 hexadecimal digits."""
    options: Options = field(default_factory=dict)
    """Keywords for the library's builder or the callable, such as drop_path_rate 0.1 or depths "(2, 2, 6, 2)". Lists
    arrive there as tuples."""
    zero_head: bool = False
    """Initialise the last layer with 0 regardless of `weights`, so that all classes start equally likely, as in BiT's
    fine-tuning."""
    stages: tuple[str, ...] = ()
    """Dotted names of the modules whose outputs are stage1, stage2, …, for methods that read feature maps; empty: the
    network's known stages."""
    int8: bool = False
    """For students: in training, plain convolutions and linear layers round weights and inputs to 8 bits, so that
    export in int8 loses less accuracy; evaluations are in float. Start from the weights of a trained run."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", with_tuples(self.options))

    @property
    def module(self) -> str:
        """The user's module that defines it; empty for networks of raykd and of libraries."""
        module, colon, _ = self.name.partition(":")
        return module if colon and module not in LIBRARIES else ""

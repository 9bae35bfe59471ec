"""How a recipe names a network. Importing this module costs nothing: no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """One network: which, and what it starts from."""

    name: str
    """A name of `raykd list models`, `torchvision:NAME`, or `timm:NAME`."""
    weights: str = ""
    """Empty: a fresh network. "pretrained": the library's own weights, with a fresh last layer for other numbers of
    classes. Else a .safetensors, .pth, or BiT .npz file; PATH#backbone takes all but its last layer."""

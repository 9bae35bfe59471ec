"""How a recipe names a network. Importing this module costs nothing: no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """One network: which, and what it starts from."""

    name: str
    """A name of `raykd list models`, `torchvision:NAME`, or `timm:NAME`."""
    weights: str = ""
    """Nothing: a fresh network. "pretrained": the library's own weights. Else the path of a .safetensors, .pth, or BiT .npz file."""

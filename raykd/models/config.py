"""The network section of a recipe. Importing this module costs nothing: no torch."""

from dataclasses import dataclass, field

LIBRARIES = ("torchvision", "timm", "hf")


@dataclass(frozen=True)
class Network:
    """One network and its initial weights."""

    name: str
    """A name of `raykd list models`, `torchvision:NAME`, `timm:NAME`, `hf:NAME`, or `MODULE:CALLABLE`: Python beside
    the recipe that returns a torch.nn.Module, called with num_classes and the options."""
    weights: str = ""
    """Empty: a fresh network. "pretrained": the library's own weights, with a fresh last layer for other numbers of
    classes. Else a file, or a URL (https://…, file://…, hf://ORG/REPO/FILE) with its sha256; FILE#backbone takes all
    but its last layer."""
    sha256: str = ""
    """Of a URL's file, 64 hexadecimal digits."""
    options: dict[str, int | float | str | bool] = field(default_factory=dict)
    """Keywords for the library's builder or the callable, such as drop_path_rate."""
    zero_head: bool = False
    """The last layer starts at 0, whatever the weights have there: every class equally likely, as BiT is fine-tuned."""
    stages: tuple[str, ...] = ()
    """Dotted names of the modules whose outputs are stage1, stage2, …, for methods that read feature maps; empty: what
    is known of the network."""
    int8: bool = False
    """Of a student: in training, its plain convolutions and linear layers round their weights and inputs to 8 bits, so
    that exporting it in int8 costs less accuracy; evaluations are in float. Start from the weights of a trained run."""

    @property
    def module(self) -> str:
        """The user's module that defines it; empty for networks of raykd and of libraries."""
        module, colon, _ = self.name.partition(":")
        return module if colon and module not in LIBRARIES else ""

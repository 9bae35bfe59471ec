"""The network section of a recipe. Importing this module costs nothing: no torch."""

from dataclasses import dataclass, field

LIBRARIES = ("torchvision", "timm", "hf")


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
    options: dict[str, int | float | str | bool] = field(default_factory=dict)
    """Keywords for the library's builder or the callable, such as drop_path_rate."""
    zero_head: bool = False
    """Initialise the last layer with 0 regardless of `weights`, so that all classes start equally likely, as in BiT's
    fine-tuning."""
    stages: tuple[str, ...] = ()
    """Dotted names of the modules whose outputs are stage1, stage2, …, for methods that read feature maps; empty: the
    network's known stages."""
    int8: bool = False
    """For students: in training, plain convolutions and linear layers round weights and inputs to 8 bits, so that
    export in int8 loses less accuracy; evaluations are in float. Start from the weights of a trained run."""

    @property
    def module(self) -> str:
        """The user's module that defines it; empty for networks of raykd and of libraries."""
        module, colon, _ = self.name.partition(":")
        return module if colon and module not in LIBRARIES else ""

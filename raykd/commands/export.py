"""raykd export: the deployed network alone, as a file or a folder for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from raykd import UserError
from raykd.commands.eval import open_finished
from raykd.recipe.load import parse
from raykd.terminal import Terminal

SUFFIXES = (".safetensors", ".onnx", ".pt2")


@dataclass(frozen=True)
class Options:
    run: Annotated[str, tyro.conf.Positional]
    """Run directory."""
    to: Path
    """File to write: .safetensors (weights), .onnx or .pt2 (whole network; any batch size, images normalised). Classes,
    preprocessing and origin are in its metadata."""
    preprocess: bool = False
    """ONNX: resizing, cropping and normalisation are in the graph: uint8 [N, H, W, 3] in, probabilities out."""
    trust_source: bool = False
    """Run the recipe's source that the run directory holds, where it has a network of its own."""


def run(arguments: Sequence[str]) -> int:
    """Write the file; returns the exit status."""
    description = "Write the deployed network of a run, without anything of raykd's training code."
    chosen = parse(Options, Options(run=tyro.MISSING, to=tyro.MISSING), arguments, "raykd export", description)
    if chosen.to.suffix not in SUFFIXES:
        raise UserError(f"--to {chosen.to}: the suffix must be one of {', '.join(SUFFIXES)}")
    if chosen.preprocess and chosen.to.suffix != ".onnx":
        raise UserError(f"--preprocess needs --to FILE.onnx, not {chosen.to.name}")
    from raykd.deploy.deployed import open_deployed
    from raykd.deploy.files import write_onnx, write_pt2, write_safetensors
    from raykd.storage.atomic import replacing

    deployed = open_deployed(*open_finished(chosen.run, chosen.trust_source))
    with replacing(chosen.to) as temporary:
        if chosen.to.suffix == ".onnx":
            said = write_onnx(deployed, temporary, chosen.preprocess)
        else:
            said = (write_pt2 if chosen.to.suffix == ".pt2" else write_safetensors)(deployed, temporary)
    Terminal().print(f"{chosen.to}: {said}, {chosen.to.stat().st_size:,} bytes")
    return 0

"""raykd export: writes the deployed network as a file or a folder for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from raykd import UserError
from raykd.api.run import open_local
from raykd.data.config import Data
from raykd.deploy.onnx.options import OnnxOptions
from raykd.fields import MaxLoss, PositiveInt
from raykd.output import complain
from raykd.recipe.command_line import parse
from raykd.terminal import Terminal

if TYPE_CHECKING:
    from raykd.deploy.deployed import Deployed


@dataclass(frozen=True)
class Options:
    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run directory."""
    to: str = ""
    """File to write: .safetensors (weights), .onnx or .pt2 (whole network for any batch size and normalised images),
    .int8.onnx (in int8, calibrated on training images; its accuracy is measured). Classes, preprocessing and origin are
    in its metadata. Or DIR/: a new folder with weights and a model card for the Hugging Face hub; for timm's networks,
    timm.create_model("local-dir:DIR", pretrained=True) loads it."""
    preprocess: bool = False
    """ONNX: include resizing, cropping and normalisation in the graph: uint8 [N, H, W, 3] in, probabilities out."""
    max_loss: MaxLoss = OnnxOptions.max_loss
    """Int8: keep layers in float32 until top-1 is at most this many percentage points below float32's, on the split of
    the run's evaluations."""
    calibration: PositiveInt = OnnxOptions.calibration
    """Int8: number of training images for measuring the ranges of the activations."""
    measure: bool = False
    """Measure latency (batches of 1 and 32, one thread and all), memory and size of the student and its teachers with
    onnxruntime on this machine, and save them in the run for reports; with or without --to."""
    data_root: Annotated[str, tyro.conf.arg(name="data.root")] = Data.root
    """Folder of the .beton files and downloads. The recipe's own is not used, as the run may be someone else's."""
    trust_source: bool = False
    """Import the user's modules that are stored in the run directory, which runs their code."""


def run(arguments: Sequence[str]) -> int:
    """Write the file, and measure; returns the exit status."""
    description = "Export the student of a run to a file that doesn't need raykd, or measure its cost."
    chosen = parse(Options, Options(run=tyro.MISSING), arguments, "raykd export", description)
    if not chosen.to and not chosen.measure:
        raise UserError("raykd export needs --to FILE (or DIR/), --measure, or both")
    from raykd.deploy.deployed import open_deployed
    from raykd.deploy.files import DiffersError
    from raykd.deploy.write import check_target, write

    how = OnnxOptions(chosen.preprocess, chosen.max_loss, chosen.calibration)
    if chosen.to:
        check_target(chosen.to, how)
    deployed = open_deployed(*open_local(chosen.run, chosen.trust_source, chosen.data_root))
    if chosen.to:
        try:
            Terminal().print(f"{chosen.to}: {write(deployed, chosen.to, how)}")
        except DiffersError as error:
            complain(f"{chosen.to} is not written: {error}")
            return 1
    if chosen.measure:
        _measure(deployed)
    return 0


def _measure(deployed: "Deployed") -> None:
    from raykd.commands.measure import show
    from raykd.deploy.speed.measure import measure, write_deployment
    from raykd.runs.directory import trained_teachers

    measured = measure(deployed, trained_teachers(deployed.run))
    write_deployment(deployed, measured)
    show(measured)

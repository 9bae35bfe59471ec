"""Export of a run's deployed network from Python."""

from pathlib import Path

from raykd.api.run import Run, open_local
from raykd.data.config import Data
from raykd.fields import MaxLoss, PositiveInt
from raykd.recipe.validate import checked


@checked
def export(
    run: Run | str | Path,
    to: str | Path,
    *,
    preprocess: bool = False,
    max_loss: MaxLoss = 100.0,
    calibration: PositiveInt = 256,
    trust_source: bool = False,
    data_root: str | Path = Data.root,
) -> Path:
    """Write the deployed network of a run to a file or a folder, compare it with the original, and return the path.

    run: a `Run`, or its directory (a path or a URI).
    to: a file: .safetensors (weights), .onnx, .int8.onnx or .pt2 (whole network: normalised float32 images
    [N, 3, S, S] → logits [N, C], for any N), with classes, preprocessing and origin in its metadata; or a folder with
    weights and a model card.
    preprocess: for ONNX, include resizing, cropping and normalisation: uint8 [N, H, W, 3] → probabilities [N, C].
    max_loss: for int8, how much top-1 it may lose, in percentage points; layers are left in float32 until it loses no
    more.
    calibration: for int8, number of training images for measuring the ranges of the activations.
    trust_source: import the user's modules that are stored in the run's directory, which runs their code.
    data_root: folder of the .beton files. The recipe's own is not used: the run may be someone else's.

    Raises UserError if the run is not finished, if the suffix or an option is invalid, if a package is missing, or if
    int8 loses more than max_loss; RuntimeError if the written network's outputs differ from the original's.
    """
    from raykd.deploy.deployed import open_deployed
    from raykd.deploy.onnx.options import OnnxOptions
    from raykd.deploy.write import write

    deployed = open_deployed(*open_local(run, trust_source, data_root))
    write(deployed, str(to), OnnxOptions(preprocess, max_loss, calibration))
    return Path(to)

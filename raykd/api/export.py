"""Export of a run's deployed network from Python."""

from dataclasses import replace
from pathlib import Path

from raykd.api.run import Run
from raykd.data.config import Data
from raykd.fields import MaxLoss, PositiveInt
from raykd.recipe.validate import expect
from raykd.runs.recipe import open_finished


def export(
    run: Run | str | Path,
    to: str | Path,
    *,
    preprocess: bool = False,
    max_loss: float = 100.0,
    calibration: int = 256,
    trust_source: bool = False,
    data_root: str | Path = Data.root,
) -> Path:
    """Write the deployed network of a run, checked against the original; returns the path.

    to: a file: .safetensors (weights), .onnx, .int8.onnx or .pt2 (whole network, any batch size, images normalised),
    with classes, preprocessing and origin in its metadata; or a folder, with weights and a model card.
    preprocess: ONNX with resizing, cropping and normalisation in it: uint8 [N, H, W, 3] in, probabilities out.
    max_loss: of int8, points of top-1 that it may cost: layers are left in float32 until it costs no more.
    calibration: of int8, training images that ranges are measured on.
    trust_source: import the user's own modules that the run's directory holds.
    data_root: folder of the .beton files; the run's own may be somebody else's.
    """
    expect(run=(run, Run | str | Path), to=(to, str | Path), max_loss=(max_loss, MaxLoss))
    expect(calibration=(calibration, PositiveInt), preprocess=(preprocess, bool), trust_source=(trust_source, bool))
    expect(data_root=(data_root, str | Path))
    from raykd.deploy.deployed import open_deployed
    from raykd.deploy.write import write

    folder, recipe = open_finished(run.path if isinstance(run, Run) else str(run), trust_source)
    data = replace(recipe.data, root=str(data_root), shared="", download=False)
    deployed = open_deployed(folder, replace(recipe, data=data))
    write(deployed, str(to), preprocess=preprocess, max_loss=max_loss, calibration=calibration)
    return Path(to)

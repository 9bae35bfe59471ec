"""The deployed network as a file or a folder for other programs, from Python."""

from pathlib import Path

from raykd import UserError
from raykd.api.run import Run
from raykd.runs.opening import open_finished

SUFFIXES = (".safetensors", ".onnx", ".pt2")


def export(run: Run | str | Path, to: str | Path, *, preprocess: bool = False, trust_source: bool = False) -> Path:
    """Write the deployed network of a run, checked against the original; returns the path.

    to: a file: .safetensors (weights), .onnx or .pt2 (whole network, any batch size, images normalised), with classes,
    preprocessing and origin in its metadata; or a folder, with weights and a model card.
    preprocess: ONNX with resizing, cropping and normalisation in it: uint8 [N, H, W, 3] in, probabilities out.
    trust_source: import the user's own modules that the run's directory holds.
    """
    from raykd.deploy.deployed import open_deployed
    from raykd.deploy.files import write_onnx, write_pt2, write_safetensors
    from raykd.deploy.folder import write_folder
    from raykd.storage.atomic import replacing

    path = Path(to)
    if preprocess and path.suffix != ".onnx":
        raise UserError(f"preprocess: only ONNX has it, not {path.name}")
    deployed = open_deployed(*open_finished(run.path if isinstance(run, Run) else str(run), trust_source))
    if path.is_dir() or str(to).endswith("/"):
        write_folder(deployed, path)
        return path
    if path.suffix not in SUFFIXES:
        raise UserError(f"{to}: the suffix must be one of {', '.join(SUFFIXES)}, or / for a folder")
    with replacing(path) as temporary:
        if path.suffix == ".onnx":
            write_onnx(deployed, temporary, preprocess)
        else:
            (write_pt2 if path.suffix == ".pt2" else write_safetensors)(deployed, temporary)
    return path

"""Writes the deployed network as a file, whose format depends on its suffix, or as a folder."""

from pathlib import Path

from raykd import UserError
from raykd.deploy.deployed import Deployed
from raykd.deploy.files import write_pt2, write_safetensors
from raykd.deploy.folder import write_folder
from raykd.storage.atomic import replacing

INT8 = ".int8.onnx"
ANY_LOSS, CALIBRATION = 100.0, 256
SUFFIXES = (".safetensors", ".onnx", ".pt2")


def check_target(to: str, preprocess: bool, max_loss: float, calibration: int) -> None:
    """Raise UserError for an invalid target, or for options that don't apply to it."""
    path = Path(to)
    if "://" in to or "\0" in to:
        raise UserError(f"--to {to!r}: give a file or a folder of this machine")
    if not _is_folder(to) and path.suffix not in SUFFIXES:
        raise UserError(f"--to {to}: the suffix must be one of {', '.join(SUFFIXES)}, or / for a folder")
    if preprocess and path.suffix != ".onnx":
        raise UserError(f"--preprocess requires --to FILE.onnx, not {path.name}")
    if (max_loss, calibration) != (ANY_LOSS, CALIBRATION) and not path.name.endswith(INT8):
        raise UserError(f"--max-loss and --calibration require --to FILE{INT8}, not {path.name}")


def write(
    deployed: Deployed, to: str, *, preprocess: bool = False, max_loss: float = ANY_LOSS, calibration: int = CALIBRATION
) -> str:
    """Write a file or a folder atomically; returns a summary for the user.

    to: FILE.safetensors, FILE.onnx, FILE.int8.onnx, FILE.pt2, or a new folder DIR/. preprocess: see `write_onnx`.
    max_loss, calibration: of int8, see `raykd.deploy.onnx.files.write_int8`.
    Raises UserError for an invalid target or option, and if it can't be written.
    """
    check_target(to, preprocess, max_loss, calibration)
    path = Path(to)
    try:
        if _is_folder(to):
            return write_folder(deployed, path)
        with replacing(path) as temporary:
            summary = _write_file(deployed, path.name, temporary, preprocess, max_loss, calibration)
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror or error}; choose another --to, or make room") from error
    return f"{summary}, {path.stat().st_size:,} bytes"


def _write_file(deployed: Deployed, name: str, path: Path, preprocess: bool, max_loss: float, calibration: int) -> str:
    """Write the format of a file's name to a path."""
    if path.suffix == ".onnx":
        from raykd.deploy.onnx.files import write_int8, write_onnx

        if name.endswith(INT8):
            return write_int8(deployed, path, preprocess, max_loss, calibration)
        return write_onnx(deployed, path, preprocess)
    return (write_pt2 if path.suffix == ".pt2" else write_safetensors)(deployed, path)


def _is_folder(to: str) -> bool:
    return to.endswith("/") or Path(to).is_dir()

"""Writes the deployed network as a file, whose format depends on its suffix, or as a folder."""

from pathlib import Path

from raykd import UserError
from raykd.deploy.deployed import Deployed
from raykd.deploy.files import write_pt2, write_safetensors
from raykd.deploy.folder import write_folder
from raykd.deploy.onnx.options import OnnxOptions
from raykd.storage.atomic import replacing

INT8 = ".int8.onnx"
SUFFIXES = (".safetensors", ".onnx", ".pt2")


def check_target(to: str, options: OnnxOptions) -> None:
    """Raise UserError for an invalid target, or for options that don't apply to it."""
    path = Path(to)
    if "://" in to or "\0" in to:
        raise UserError(f"--to {to!r}: give a file or a folder of this machine")
    if not _is_folder(to) and path.suffix not in SUFFIXES:
        raise UserError(f"--to {to}: the suffix must be one of {', '.join(SUFFIXES)}, or / for a folder")
    if options.preprocess and path.suffix != ".onnx":
        raise UserError(f"--preprocess requires --to FILE.onnx, not {path.name}")
    if options != OnnxOptions(options.preprocess) and not path.name.endswith(INT8):
        raise UserError(f"--max-loss and --calibration require --to FILE{INT8}, not {path.name}")


def write(deployed: Deployed, to: str, options: OnnxOptions) -> str:
    """Write a file or a folder atomically; returns a summary for the user.

    to: FILE.safetensors, FILE.onnx, FILE.int8.onnx, FILE.pt2, or a new folder DIR/.
    Raises UserError for an invalid target or option, and if it can't be written.
    """
    check_target(to, options)
    path = Path(to)
    try:
        if _is_folder(to):
            return write_folder(deployed, path)
        with replacing(path) as temporary:
            summary = _write_file(deployed, path.name, temporary, options)
    except OSError as error:
        raise UserError(f"can't write {path}: {error.strerror or error}; choose another --to, or make room") from error
    return f"{summary}, {path.stat().st_size:,} bytes"


def _write_file(deployed: Deployed, name: str, path: Path, options: OnnxOptions) -> str:
    """Write the format of a file's name to a path."""
    if path.suffix == ".onnx":
        from raykd.deploy.onnx.files import write_int8, write_onnx

        return (write_int8 if name.endswith(INT8) else write_onnx)(deployed, path, options)
    return (write_pt2 if path.suffix == ".pt2" else write_safetensors)(deployed, path)


def _is_folder(to: str) -> bool:
    return to.endswith("/") or Path(to).is_dir()

"""Reads weights files by their content, not their names: safetensors, torch's checkpoints, BiT's .npz.

No code of a file is executed: pickles may only contain tensors, plain containers and a few inert types.
"""

import argparse
import os
import pathlib
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import numpy._core as numpy_core
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from raykd import UserError
from raykd.storage.damage import DAMAGE

# Objects that training scripts save with the weights: their arguments, and numpy's numbers.
INERT: list[Any] = [
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    np.ndarray,
    (numpy_core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    numpy_core.multiarray.scalar,
    (numpy_core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    numpy_core.multiarray._reconstruct,
    *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdSU"},
]


UNREADABLE: tuple[type[Exception], ...] = (*DAMAGE, SafetensorError)


def content_of(path: str | os.PathLike) -> Any:
    """The file's content: tensors by name, or nested dictionaries with such among other values.

    Raises UserError, naming the file, if it can't be read without executing code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such weights file; correct its path")
    try:
        read = _reader(path)
        if read is None:
            raise UserError(f"{path} has no weights (safetensors, torch or npz), or is truncated: use another file")
        return read(path)
    except UnpicklingError as error:
        reason = "it is truncated, or contains more than tensors: save only the network's state_dict()"
        raise UserError(f"{path} can't be loaded safely; {reason} ({_first_line(error)})") from error
    except UNREADABLE as error:
        raise UserError(f"{path} is not a readable weights file, or is truncated ({_first_line(error)})") from error


def _reader(path: Path) -> Callable[[Path], Any] | None:
    with open(path, "rb") as file:
        start = file.read(9)
    if start.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            _expect_plausible(archive)
            return _read_bit if all(name.endswith(".npy") for name in archive.namelist()) else _read_torch
    if start.startswith(b"\x80"):  # torch before 1.6
        return _read_torch
    return load_file if start[8:] == b"{" else None


def _expect_plausible(archive: zipfile.ZipFile) -> None:
    """Raise ValueError for an archive made to fill the memory: trained weights hardly become smaller by compression."""
    unpacked = sum(each.file_size for each in archive.infolist())
    packed = sum(each.compress_size for each in archive.infolist())
    if unpacked > max(SMALL, 100 * packed):
        raise ValueError(f"{packed:,} bytes that unpack to {unpacked:,} are no weights")


def _read_torch(path: Path) -> Any:
    with torch.serialization.safe_globals(INERT):
        return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


SMALL = 2**28  # bytes that an archive may unpack to, however small it is

# BiT's arrays under the keys of timm's `resnetv2_*_bit`: first as google-research/big_transfer and the distilled
# networks of big_vision are published, then as big_vision's own training writes them.
UNIT = r"block(?P<block>\d+)/unit(?P<unit>\d+)"
BIT_NAMES = (
    (r"root_block/(standardized_conv2d|conv_root)/kernel", "stem.conv.weight"),
    (r"head(/conv2d)?/kernel", "head.fc.weight"),
    (r"head(/conv2d)?/bias", "head.fc.bias"),
    (r"(group_norm/gamma|norm-pre-head/scale)", "norm.weight"),
    (r"(group_norm/beta|norm-pre-head/bias)", "norm.bias"),
    (UNIT + r"/(a/proj/standardized_conv2d|conv_proj)/kernel", "stages.{block}.blocks.{unit}.downsample.conv.weight"),
    (UNIT + r"/(?P<branch>[abc])/standardized_conv2d/kernel", "stages.{block}.blocks.{unit}.conv{branch}.weight"),
    (UNIT + r"/conv(?P<branch>[123])/kernel", "stages.{block}.blocks.{unit}.conv{branch}.weight"),
    (UNIT + r"/((?P<branch>[abc])/group_norm/gamma)", "stages.{block}.blocks.{unit}.norm{branch}.weight"),
    (UNIT + r"/((?P<branch>[abc])/group_norm/beta)", "stages.{block}.blocks.{unit}.norm{branch}.bias"),
    (UNIT + r"/gn(?P<branch>[123])/scale", "stages.{block}.blocks.{unit}.norm{branch}.weight"),
    (UNIT + r"/gn(?P<branch>[123])/bias", "stages.{block}.blocks.{unit}.norm{branch}.bias"),
)


def _read_bit(path: Path) -> dict[str, Tensor]:
    """A BiT checkpoint (Kolesnikov et al. 2020); kernels HWIO → OIHW, big_vision's dense head a 1×1 convolution."""
    state = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            key, array = _bit_key(name), arrays[name]
            if key in state:
                raise ValueError(f"it has {key} twice, the second time as {name}")
            array = array.astype(array.dtype.newbyteorder("="), copy=False)
            if key.endswith("fc.weight") and array.ndim == 2:
                array = array[None, None]
            vector = array.ndim == 4 and key.split(".")[-2].startswith("norm")
            array = array.reshape(-1) if vector else array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            state[key] = torch.from_numpy(np.ascontiguousarray(array))
    return state


def _bit_key(name: str) -> str:
    plain = re.sub(r"^(params/)?(resnet/)?", "", name)
    plain = re.sub(r"standardized_conv2d_\d+", "standardized_conv2d", plain)
    for pattern, key in BIT_NAMES:
        match = re.fullmatch(pattern, plain)
        if match:
            parts = match.groupdict()
            numbers = {part: int(parts[part]) - 1 for part in ("block", "unit") if part in parts}
            branch = parts.get("branch", "").translate(str.maketrans("abc", "123"))
            return key.format(**numbers, branch=branch)
    return name

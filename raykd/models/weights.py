"""Weights in files: .safetensors and .pth (tensors only), and the .npz of BiT. Nothing is ever unpickled."""

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raykd import UserError
from raykd.models.staged import Staged

# Where training scripts put the network among other things, and the prefixes that wrappers add to its keys.
NESTS = ("state_dict", "model", "model_state", "model_state_dict", "net", "student")
PREFIXES = ("module.", "_orig_mod.", "model.")


def save_student(network: Staged | nn.Module, path: str | os.PathLike, metadata: Mapping[str, str]) -> None:
    """Write the plain network's tensors, under its own keys, as .safetensors; the file appears whole or not at all."""
    path = Path(path)
    tensors = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in plain(network).state_dict().items()}
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(tensors, partial, metadata=dict(metadata))
    partial.replace(path)


def load_weights(network: Staged | nn.Module, path: str | os.PathLike, without_classifier: bool = False) -> None:
    """Load a file into a network, completely; only BatchNorm's batch counters may be missing, as in old files.

    without_classifier leaves the last layer of a Staged network as it is, whatever the file holds for it.
    Raises UserError, naming the file, where it can't be read or doesn't fit.
    """
    model = plain(network)
    state, own = read(path), model.state_dict()
    classifier = network.classifier if isinstance(network, Staged) else None
    if classifier is not None and without_classifier:
        state = {key: tensor for key, tensor in state.items() if not key.startswith(f"{classifier}.")}
        state |= {key: tensor for key, tensor in own.items() if key.startswith(f"{classifier}.")}
    elif classifier is not None:
        _expect_classes(state.get(f"{classifier}.weight"), network, path)
    problems = _differences(state, own)
    if problems:
        raise UserError(f"{path} does not fit {getattr(network, 'name', type(model).__name__)}: {'; '.join(problems)}")
    model.load_state_dict(own | state)


def plain(network: Staged | nn.Module) -> nn.Module:
    return network.model if isinstance(network, Staged) else network


def read(path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a weights file by the network's own keys; raises UserError where it holds none."""
    readers = {
        ".safetensors": load_file,
        ".pth": _read_torch,
        ".pt": _read_torch,
        ".bin": _read_torch,
        ".npz": _read_bit,
    }
    path = Path(path).expanduser()
    if path.suffix not in readers:
        raise UserError(
            f"{path}: weights are read from {', '.join(readers)} files, not from {path.suffix or 'this one'}"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such weights file")
    try:
        state = readers[path.suffix](path)
    except (SafetensorError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError) as error:
        raise UserError(f"{path} is not a readable {path.suffix} file, or is cut off ({_first_line(error)})") from error
    except UnpicklingError as error:
        reason = "it is cut off, or holds other things than tensors: save the network's state_dict() alone"
        raise UserError(f"{path} can't be loaded safely; {reason} ({_first_line(error)})") from error
    return _without_prefixes(state)


def _read_torch(path: Path) -> dict[str, Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    while isinstance(content, Mapping):
        nested = [content[key] for key in NESTS if isinstance(content.get(key), Mapping)]
        if not nested:
            break
        content = nested[0]
    if not isinstance(content, Mapping) or not content or not all(isinstance(x, Tensor) for x in content.values()):
        raise ValueError(f"no state_dict in it, nor under one of the keys {', '.join(NESTS)}")
    return dict(content)


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES * 2:
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
    return state


BIT_NAMES = (
    (r"^root_block/standardized_conv2d/kernel$", "stem.conv.weight"),
    (r"^head/conv2d/kernel$", "head.fc.weight"),
    (r"^head/conv2d/bias$", "head.fc.bias"),
    (r"^group_norm/gamma$", "norm.weight"),
    (r"^group_norm/beta$", "norm.bias"),
    (r"^{unit}/a/proj/standardized_conv2d/kernel$", "stages.{block}.blocks.{unit}.downsample.conv.weight"),
    (r"^{unit}/(?P<branch>[abc])/standardized_conv2d/kernel$", "stages.{block}.blocks.{unit}.conv{branch}.weight"),
    (r"^{unit}/(?P<branch>[abc])/group_norm/gamma$", "stages.{block}.blocks.{unit}.norm{branch}.weight"),
    (r"^{unit}/(?P<branch>[abc])/group_norm/beta$", "stages.{block}.blocks.{unit}.norm{branch}.bias"),
)
BIT_UNIT = r"block(?P<block>\d+)/unit(?P<unit>\d+)"


def _read_bit(path: Path) -> dict[str, Tensor]:
    """A BiT checkpoint (Kolesnikov et al. 2020) under the keys of timm's `resnetv2_*_bit`; kernels HWIO → OIHW."""
    state = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            array = arrays[name]
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
            state[_bit_key(name.removeprefix("resnet/"))] = torch.from_numpy(np.ascontiguousarray(array))
    return state


def _bit_key(name: str) -> str:
    for pattern, key in BIT_NAMES:
        match = re.match(pattern.replace("{unit}", BIT_UNIT), name)
        if match:
            found = match.groupdict()
            places = {part: int(found[part]) - 1 for part in ("block", "unit") if part in found}
            return key.format(**places, branch="abc".index(found["branch"]) + 1 if "branch" in found else "")
    return name


def _expect_classes(kernel: Tensor | None, network: Staged, path: str | os.PathLike) -> None:
    if kernel is not None and kernel.shape[0] != network.num_classes:
        counts = f"{path} is of a network of {kernel.shape[0]} classes, {network.name} here has {network.num_classes}"
        raise UserError(f"{counts}: for all but the last layer, write '#backbone' behind the file's name")


def _differences(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} is {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    found = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    return [
        f"{len(keys)} {kind}: {', '.join(keys[:3])}{' …' if len(keys) > 3 else ''}"
        for kind, keys in found.items()
        if keys
    ]


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]

"""The cache key: everything that the cached numbers depend on."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from raykd.data.storage.own_code import code_of
from raykd.models.libraries import trusted
from raykd.models.staged import Staged
from raykd.recipe import Recipe
from raykd.recipe.fingerprint import code_version
from raykd.recipe.serial import to_dict
from raykd.teachers.frozen_teacher import FrozenTeacher

VERSION = 1  # of the files and of the key's content
PIXELS = ("source", "encoding", "image_size", "mean", "std", "train")  # fields of `data`
ORDER = ("validation", "labelled_share", "order")  # and those that determine which image is at which address


def digest_of(network: nn.Module) -> str:
    """A hash of a network's parameters and buffers."""
    digest = hashlib.sha256()
    for tensor in _tensors(network):
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def key_of(teacher: FrozenTeacher, weights: str, recipe: Recipe, data: Any, tensor: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits. weights: `digest_of` the teacher's network. data: the run's TrainLoader.

    tensor: which one, and its format. Not in the key, as they change nothing but rounding: the number of
    workers, the batch size if images are not mixed, `data.views`, which only determines when images repeat.
    """
    plain, precision = to_dict(recipe.data), recipe.precision
    about = {"version": VERSION, "seed": recipe.seed, "content": data.identity, "size": data.size, "kept": tensor}
    about |= {name: plain[name] for name in PIXELS + ORDER}
    about |= {"mixing": plain["mixing"], "batch_size": recipe.batch_size} if data.mixes else {}
    code = code_of(*map(type, recipe.data.train), *([type(recipe.data.mixing)] if data.mixes else []))
    about |= {"operations": code} if code else {}
    about |= {"weights": weights, "network": teacher.network.name, "own_size": teacher.network.native_size}
    about |= {"form": str(teacher.precision), "autocast": precision.autocast, "tf32": precision.tf32}
    about |= {"channels_last": precision.channels_last}
    about |= {name: value for name, value in _built(teacher.network).items() if value}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(data.labels.numpy().tobytes())
    return digest.hexdigest()[:16]


def _built(network: Staged) -> dict[str, Any]:
    """What else determines a network's outputs: its options, its stages, and the code of a user's network."""
    code = trusted.callable_of(network.name) if network.name.partition(":")[0] in trusted.allowed() else None
    return {
        "options": {name: repr(value) for name, value in network.options.items()},
        "stages": list(network.stage_modules),
        "code": code_version(code) if code is not None else "",
    }


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    yield from network.parameters()
    yield from network.buffers()  # such as a renormalised teacher's scale and shift, which no checkpoint holds

"""Golden numbers: outputs of the authors' own code, read from files and compared.

The files are in the folder that the environment variable RAYKD_GOLDEN names, by default tests/golden; a missing file
counts as one without cases.
Keys: `<case>/in/<x>`, `<case>/hp/<x>`, `<case>/<method>/out/<x>`, `<case>/<method>/grad/<x>`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

OWN = Path(__file__).parents[1] / "golden"
FOLDER = Path(os.environ.get("RAYKD_GOLDEN", OWN))
Arrays = Mapping[str, np.ndarray]
Load = Callable[[str], Arrays]


@cache
def load(name: str, folder: Path = FOLDER) -> Arrays:
    """The arrays of a file, such as "03_one", by key; none where the folder has no such file."""
    path = folder / f"{name}.npz"
    if not path.exists():
        return {}
    with np.load(path) as arrays:
        return {key: arrays[key] for key in arrays.files}


def names(arrays: Arrays) -> list[str]:
    """The names of the cases of a file."""
    return list(dict.fromkeys(key.split("/")[0] for key in arrays))


class Row(NamedTuple):
    method: str
    case: str
    what: str  # "loss", or the input that the gradient is of
    difference: float  # largest, relative to the largest golden magnitude


class Case:
    """One case of a file: inputs as float64 leaves, hyper-parameters, and the original's outputs."""

    def __init__(self, arrays: Arrays, name: str):
        self.arrays, self.name = arrays, name
        self.leaves: dict[str, Tensor] = {}

    def __call__(self, name: str) -> Tensor:
        if name not in self.leaves:
            x = torch.from_numpy(np.array(self.arrays[f"{self.name}/in/{name}"]))
            self.leaves[name] = x if x.dtype == torch.int64 else x.double().requires_grad_()
        return self.leaves[name]

    def hp(self, name: str, method: str = "") -> float:
        return float(self.arrays["/".join(filter(None, (self.name, method, "hp", name)))])

    def text(self, name: str) -> str:
        return str(self.arrays[f"{self.name}/hp/{name}"])

    def out(self, method: str, name: str) -> np.ndarray:
        return np.asarray(self.arrays[f"{self.name}/{method}/out/{name}"])

    def has(self, path: str) -> bool:
        return any(key.startswith(f"{self.name}/{path}") for key in self.arrays)

    def compare(self, ours: str, method: str, values: dict[str, Tensor], loss: str = "loss") -> Iterator[Row]:
        """Rows of outputs by their golden names, and of the gradients of values[loss]."""
        for name, value in values.items():
            yield Row(ours, self.name, name, relative(value, self.out(method, name)))
        for leaf in self.leaves.values():
            leaf.grad = None
        values[loss].sum().backward(retain_graph=True)
        kind = "grad" if loss == "loss" else f"grad_{loss}"
        start = f"{self.name}/{method}/{kind}/"
        for key in self.arrays:
            if key.startswith(start):
                leaf = key.removeprefix(start)
                yield Row(ours, self.name, f"d {leaf}", relative(self(leaf).grad, self.arrays[key]))


def relative(ours: Tensor | None, golden: np.ndarray, floor: float = 1e-3) -> float:
    """The largest difference, relative to the largest golden magnitude or to `floor`, whichever is larger.

    Where the original gives NaN (a batch of one sample), raykd must only be finite.
    """
    golden = np.asarray(golden, dtype=np.float64)
    if not golden.size:  # of a layer without units
        return 0.0
    if ours is None:  # no gradient
        return float("inf") if golden.any() else 0.0
    found = ours.detach().double().numpy().reshape(golden.shape)
    if np.isnan(golden).any():
        return 0.0 if np.isfinite(found).all() else float("inf")
    return float(np.abs(found - golden).max() / max(np.abs(golden).max(), floor))


def cases(arrays: Arrays) -> Iterator[Case]:
    for name in names(arrays):
        yield Case(arrays, name)

"""One teacher's outputs: read where they are there and whole, else computed for the batch and written behind it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raykd.contract import Output
from raykd.data.transfer import to_device
from raykd.teachers.cache.formats import Format, mark_of
from raykd.teachers.cache.row_files import RowFiles
from raykd.teachers.cache.write_behind import WriteBehind


@dataclass(frozen=True)
class TensorCache:
    """The logits, or one feature, of a teacher."""

    name: str  # of the teacher and what of it
    format: Format
    files: RowFiles

    def read(self, addresses: np.ndarray, device: torch.device) -> Tensor | None:
        """Values [B, …] of addresses [B]; None where one is missing or damaged."""
        found = self.files.read(addresses)
        return found and self.format.unpack(to_device(torch.from_numpy(found[0]), device), found[1])

    def write(self, addresses: np.ndarray, rows: np.ndarray, mark: int) -> None:
        """Write packed rows; raises UserError for values that the format can't hold, OSError where there is no room."""
        self.format.expect_exact(rows, self.name)
        self.files.write(addresses, rows, mark)


class TeacherCache:
    """Safe for any number of runs at once that read and fill the same files."""

    def __init__(self, tensors: Mapping[str, TensorCache], writer: WriteBehind):
        """tensors: "logits", and the features that the method reads, by name."""
        self.tensors, self._writer = tensors, writer

    def output(self, addresses: np.ndarray, device: torch.device, compute: Callable[[], Output]) -> Output:
        """The teacher's output for addresses [B]; where something is missing, all of the batch is computed at once.

        It comes through the files' format also when just computed: who fills them and who reads them see the same
        numbers.
        """
        read = {name: tensor.read(addresses, device) for name, tensor in self.tensors.items()}
        found = {name: values for name, values in read.items() if values is not None}
        missing = [name for name in read if name not in found]
        if missing:
            found |= self._filled(addresses, compute(), missing)
        return Output(found.pop("logits"), found)

    def holds(self, addresses: np.ndarray) -> bool:
        """Whether all is there and whole for addresses [B]."""
        return all(tensor.files.read(addresses) is not None for tensor in self.tensors.values())

    def _filled(self, addresses: np.ndarray, live: Output, missing: list[str]) -> dict[str, Tensor]:
        values, found = {"logits": live.logits, **live.features}, {}
        for name, tensor in self.tensors.items():
            rows, mark = tensor.format.pack(values[name]), mark_of(values[name])
            if name in missing:
                self._writer.put(tensor, addresses, rows, mark)
            found[name] = tensor.format.unpack(rows, mark)
        return found

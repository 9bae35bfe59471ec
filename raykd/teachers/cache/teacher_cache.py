"""One teacher's outputs: read from the cache if complete, else computed for the batch and written in the background."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raykd.contract import Output
from raykd.data.device.transfer import to_device
from raykd.teachers.cache.claims import Claims
from raykd.teachers.cache.formats import Format, mark_of
from raykd.teachers.cache.row_files import RowFiles
from raykd.teachers.cache.write_behind import WriteBehind


@dataclass(frozen=True)
class TensorCache:
    """The logits, or one feature, of a teacher."""

    name: str  # of the teacher and tensor
    format: Format
    files: RowFiles

    def read(self, addresses: np.ndarray, device: torch.device) -> Tensor | None:
        """Values [B, …] at addresses [B]; None if one is missing or damaged."""
        stored = self.files.read(addresses)
        if stored is None:
            return None
        rows, mark = stored
        return self.format.unpack(to_device(torch.from_numpy(rows), device), mark)

    def write(self, addresses: np.ndarray, rows: np.ndarray, mark: int) -> None:
        """Write packed rows; raises UserError for values that the format can't hold, OSError if the disk is full."""
        self.format.expect_exact(rows, self.name)
        self.files.write(addresses, rows, mark)


class TeacherCache:
    """One teacher's cache. Any number of runs may read and fill the same files at once."""

    def __init__(self, tensors: Mapping[str, TensorCache], writer: WriteBehind, claims: Claims):
        """tensors: "logits", and the features that the method reads, by name. claims: on rows of logits."""
        self.tensors, self._writer, self._claims = tensors, writer, claims

    def output(self, addresses: np.ndarray, device: torch.device, compute: Callable[[], Output]) -> Output:
        """The teacher's output at addresses [B]; if a row is missing, the whole batch is computed.

        Where another process is computing it, its rows are awaited and read. Fresh outputs are passed through the
        files' format too, so that runs that fill the cache and runs that read it get the same numbers.
        """
        tensors = self._read(addresses, device)
        if len(tensors) < len(self.tensors):
            tensors = self._computed(addresses, device, compute)
        return Output(tensors.pop("logits"), tensors)

    def holds(self, addresses: np.ndarray) -> bool:
        """Whether the rows at addresses [B] are complete and intact."""
        return all(tensor.files.read(addresses) is not None for tensor in self.tensors.values())

    def _read(self, addresses: np.ndarray, device: torch.device) -> dict[str, Tensor]:
        """The tensors whose rows are complete and intact."""
        read = {name: tensor.read(addresses, device) for name, tensor in self.tensors.items()}
        return {name: values for name, values in read.items() if values is not None}

    def _computed(
        self, addresses: np.ndarray, device: torch.device, compute: Callable[[], Output]
    ) -> dict[str, Tensor]:
        claimed = self._claims.take(addresses)
        try:
            tensors = self._read(addresses, device)  # again: what another process has written meanwhile
            missing = [name for name in self.tensors if name not in tensors]
            return tensors | self._written(addresses, compute(), missing) if missing else tensors
        finally:
            if claimed:
                self._writer.after(lambda: self._claims.give_up(addresses))

    def _written(self, addresses: np.ndarray, output: Output, missing: list[str]) -> dict[str, Tensor]:
        """All tensors of a fresh output as they will be read from the files; the missing ones are written to them."""
        values, tensors = {"logits": output.logits, **output.features}, {}
        for name, tensor in self.tensors.items():
            rows, mark = tensor.format.pack(values[name]), mark_of(values[name])
            if name in missing:
                self._writer.put(tensor, addresses, rows, mark)
            tensors[name] = tensor.format.unpack(rows, mark)
        return tensors

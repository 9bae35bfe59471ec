"""Group larger: bytes read from the disk per epoch over the file's size, for a file several times the memory allowed.

It needs root to create a memory cgroup; if it can't, it says so and measures nothing.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from raykd.contract import Placement
from raykd.data.config import Data, Encoding, Prepared, Source
from raykd.data.examples import Splits, from_arrays
from raykd.data.loader import TrainLoader
from raykd.data.storage.prepare import prepare
from raykd.data.transforms import RandomCrop

COUNT, SIDE, BATCH = 20_000, 256, 128  # 3.9 GB of raw images
ALLOWED = 1 << 30
GROUPS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")  # cgroup v1, v2


@dataclass(frozen=True, kw_only=True)
class Noise(Source):
    """Raw images that take no time to create."""

    name = "noise"

    def open(self, root: Path, download: bool) -> Splits:
        images = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
        train = from_arrays(images, [0] * 4, "noise")._replace(
            labels=[i % 2 for i in range(COUNT)], read=lambda i: images[i % 4]
        )
        return Splits(("a", "b"), train, from_arrays(images, [0] * 4, "noise"))


def data(root: str, order: str) -> Data:
    settings = {"image_size": 64, "train": (RandomCrop(),), "encoding": Encoding(mode="raw")}
    return Data(source=Noise(), mean=(0.5,) * 3, std=(0.2,) * 3, root=root, order=order, **settings)


def rows() -> Iterator[dict]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("RAYKD_BENCH_DISK")) as root, cgroup() as group:
        if group is None:
            yield {"order": "no cgroup can be made here: run as root", "read / size": "", "images/s": ""}
            return
        prepared = prepare(data(root, "random"))
        for order in ("random", "quasi-random"):
            command = [sys.executable, "-m", "tests.bench.larger", root, order, str(group)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            share, rate = done.stdout.split()[-2:]
            about = {"file": f"{prepared.train.stat().st_size / 1e9:.1f} GB", "memory": f"{ALLOWED / 1e9:.1f} GB"}
            yield {"order": order, **about, "read / size": f"{float(share):.2f}", "images/s": f"{float(rate):.0f}"}


@contextmanager
def cgroup() -> Iterator[Path | None]:
    """A memory cgroup of ALLOWED bytes; None if it can't be created."""
    for root, limit in zip(map(Path, GROUPS), ("memory.limit_in_bytes", "memory.max")):
        group = root / f"raykd-bench-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(ALLOWED))
        except OSError:
            continue
        yield group
        group.rmdir()
        return
    yield None


def one_epoch(root: str, order: str, group: Path) -> None:
    """In the cgroup: drop the file from the cache, read an epoch, print bytes read over size, and images a second."""
    import time

    (group / "cgroup.procs").write_text(str(os.getpid()))
    settings = data(root, order)
    prepared: Prepared = prepare(settings)
    placement = Placement(torch.device("cpu"), 2)
    loader = TrainLoader(settings, prepared, placement, batch_size=BATCH, seed=0)
    sum(len(batch.images) for batch in loader.batches(0, 2))  # compiles
    with open(prepared.train, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before, began = read_bytes(), time.perf_counter()
    images = sum(len(batch.images) for batch in loader.batches(0, COUNT // BATCH))
    seconds = time.perf_counter() - began
    print((read_bytes() - before) / prepared.train.stat().st_size, images / seconds)


def read_bytes() -> int:
    """Bytes that were read from the disk for this process."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


if __name__ == "__main__":
    one_epoch(sys.argv[1], sys.argv[2], Path(sys.argv[3]))

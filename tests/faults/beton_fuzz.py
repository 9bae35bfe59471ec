"""Damages small .beton files at random and reads them, one line per attempt, so that a crash shows its attempt.

python -m tests.faults.beton_fuzz FOLDER FIRST COUNT
"""

import io
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from raykd import UserError
from raykd.contract import Placement
from raykd.data.config import Data, Encoding, Prepared
from raykd.data.examples import from_arrays
from raykd.data.loader import TrainLoader
from raykd.data.sources import Digits
from raykd.data.storage import beton
from raykd.data.storage.header import ALLOCATION, FIELD, HEADER, SAMPLE, Header
from raykd.data.transforms import Flip, RandomCrop, RandomResizedCrop, Resize

COUNT, SIDE, SIZE = 6, 96, 32
JPEGS = {
    "restarts": {"subsampling": "4:2:0", "restart_marker_rows": 1},
    "plain": {"subsampling": "4:4:4"},
    "progressive": {"subsampling": "4:2:2", "progressive": True},
    "raw": None,
}
TRAIN = {
    "crop": (RandomResizedCrop(area=(0.08, 0.5)), Flip()),
    "copy": (RandomCrop(),),
    "resize": (Resize(size=SIZE, keep_aspect=False),),
}
START = HEADER.itemsize + 2 * FIELD.itemsize


def pictures() -> np.ndarray:
    """Images with edges and noise, [COUNT, SIDE, SIDE, 3]."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[0:SIDE, 0:SIDE] / 9.0
    waves = [np.stack([np.sin(a * x + b * y) for a, b in draw.uniform(0.2, 2, (3, 2))], -1) for _ in range(COUNT)]
    return np.clip(np.stack(waves) * 90 + draw.normal(128, 9, (COUNT, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def write(path: Path, kind: str) -> bytes:
    """A file of JPEGs of one kind, or of raw images; its bytes."""

    def encoded(image, quality):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, **JPEGS[kind])
        return file.getvalue()

    ours, beton.encode_jpeg = beton.encode_jpeg, encoded
    try:
        encoding = Encoding(mode="raw" if kind == "raw" else "jpeg")
        beton.write(path, from_arrays(pictures(), [i % 4 for i in range(COUNT)], "x"), encoding)
    finally:
        beton.encode_jpeg = ours
    return path.read_bytes()


def data_of(train: str, loader: str = "ffcv") -> Data:
    """How the files are read."""
    return Data(source=Digits(), image_size=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, train=TRAIN[train], loader=loader)


def reader(path: Path, data: Data) -> TrainLoader:
    """A loader of two batches a pass."""
    prepared = Prepared(train=path, test=path, classes=("a", "b", "c", "d"), train_size=COUNT, test_size=COUNT)
    return TrainLoader(data, prepared, Placement(torch.device("cpu"), 1), batch_size=COUNT // 2, seed=0)


def load(path: Path, train: str, loader: str = "ffcv") -> torch.Tensor:
    """Two passes over the file."""
    opened = reader(path, data_of(train, loader))
    return torch.cat([batch.images.flatten() for batch in opened.batches(0, 4)])


class Damage:
    """Random changes of a few bytes in critical places."""

    def __init__(self, content: bytes, header: Header):
        self.content = content
        self.spans = list(zip(header.offsets.tolist(), (header.offsets + header.sizes).tolist(), strict=True))
        self.table = int(np.frombuffer(content[:24], HEADER)["alloc_table_ptr"][0])

    def changes(self, draw: random.Random) -> list[tuple[int, bytes]]:
        """Positions and their new bytes."""
        places = [self._place(draw, draw.choice(("head", "scan", "markers", "tail", "samples", "table", "header")))]
        places += [self._place(draw, "markers") for _ in range(draw.choice((0, 0, 1, 3)))]
        values = (0, 1, 0xFF, 0xD0, 0xD9, 0xC0, 0xDA)
        length = draw.choice((1, 1, 2, 3))
        return [(at, bytes(draw.choice((*values, draw.randrange(256))) for _ in range(length))) for at in places]

    def _place(self, draw: random.Random, where: str) -> int:
        begin, end = draw.choice(self.spans)
        match where:
            case "head":
                return begin + draw.randrange(min(640, end - begin))
            case "scan":
                return draw.randrange(begin, end)
            case "markers":
                segments = self._segments(begin, end)
                return draw.choice(segments) + draw.choice((0, 1, 2, 3, 4)) if segments else begin
            case "tail":
                return end - 1 - draw.randrange(4)
            case "samples":
                return START + draw.randrange(COUNT * SAMPLE.itemsize)
            case "table":
                return self.table + draw.randrange(COUNT * ALLOCATION.itemsize)
        return draw.randrange(HEADER.itemsize + FIELD.itemsize)

    def _segments(self, begin: int, end: int) -> list[int]:
        """Where the segments of a JPEG begin, up to its scan."""
        found, at = [], begin + 2
        while at + 4 <= end and self.content[at] == 0xFF:
            found.append(at)
            if self.content[at + 1] == 0xDA:
                break
            at += 2 + int.from_bytes(self.content[at + 2 : at + 4], "big")
        return found


def attempt(path: Path, train: str) -> str:
    """The result of reading the file: loaded, rejected in one line, or an error."""
    try:
        filler = [np.full(200_000, value, np.uint8) for value in (201, 77)]
        del filler
        first, again = load(path, train), load(path, train)
    except UserError as error:
        return "refused" if path.name in str(error) and "\n" not in str(error) else f"unclear: {error}"
    except Exception as error:  # noqa: BLE001  any other one is what is looked for
        return f"{type(error).__name__}: {error}"
    return "loaded" if torch.equal(first, again) and torch.isfinite(first).all() else "memory that nobody wrote"


def opened(folder: Path) -> Callable[[int], str]:
    """Write the files to damage; returns a function that makes the attempt of a number and returns its result."""
    files = {kind: write(folder / f"{kind}.beton", kind) for kind in JPEGS}
    damage = {kind: Damage(content, Header(folder / f"{kind}.beton")) for kind, content in files.items()}

    def one(number: int) -> str:
        draw = random.Random(number)
        kind, train = draw.choice(list(JPEGS)), draw.choice(list(TRAIN))
        changes, path = damage[kind].changes(draw), folder / f"{kind}.beton"
        print(kind, train, [(at, new.hex()) for at, new in changes], end=" ", flush=True)
        with path.open("r+b") as file:
            for at, new in changes:
                file.seek(at)
                file.write(new)
        outcome = attempt(path, train)
        path.write_bytes(files[kind])
        return outcome

    return one


def main(folder: Path, first: int, count: int) -> None:
    one = opened(folder)
    for number in range(first, first + count):
        print(number, end=" ", flush=True)
        outcome = one(number)
        print("…", outcome, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

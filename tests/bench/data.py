"""Group data: images/s of raykd's loader, FFCV's with its standard operations, and PyTorch's DataLoader, in turns.

All produce normalised float32 batches on the CPU from the same images, with the same kind of crop and flip. Each case
runs in a process that is bound to its number of cores, with all its threads and worker processes. "per CPU second"
divides by the CPU time of all of these, so that it is meaningful on a busy machine, too.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raykd.contract import Placement
from raykd.data.config import Data, Encoding, Prepared, Source
from raykd.data.examples import Examples, Splits
from raykd.data.loader import TrainLoader
from raykd.data.storage.header import Header
from raykd.data.storage.prepare import prepare
from raykd.data.transforms import Flip, RandomCrop, RandomResizedCrop

MEAN, STD, BATCH, ROUNDS = (0.48, 0.46, 0.41), (0.23, 0.22, 0.23), 128, 3


@dataclass(frozen=True, kw_only=True)
class Crops(Source):
    """Crops of scikit-learn's two photographs."""

    name = "crops"
    count: int
    height: int
    width: int

    def open(self, root: Path, download: bool) -> Splits:
        from sklearn.datasets import load_sample_images

        photographs = load_sample_images().images

        def read(i: int) -> np.ndarray:
            draw, image = np.random.default_rng(i), photographs[i % 2]
            top = draw.integers(0, image.shape[0] - self.height + 1)
            left = draw.integers(0, image.shape[1] - self.width + 1)
            return image[top : top + self.height, left : left + self.width]

        split = Examples([i % 10 for i in range(self.count)], read, str)
        return Splits(tuple("0123456789"), split, split._replace(labels=[0]))


@dataclass(frozen=True)
class Case:
    title: str
    source: Crops
    size: int
    mode: str
    transforms: tuple

    @property
    def repeats(self) -> int:
        """Passes in one turn of the loaders for which one pass takes no time."""
        return 16 if self.size == 32 else 1

    def data(self, root: str, **changes: Any) -> Data:
        settings = {"source": self.source, "image_size": self.size, "mean": MEAN, "std": STD, "train": self.transforms}
        return Data(**settings, encoding=Encoding(mode=self.mode), root=root, **changes)


CIFAR_LIKE, IMAGENET_LIKE = (RandomCrop(padding=4), Flip()), (RandomResizedCrop(), Flip())
SQUARES, PHOTOGRAPHS = (
    Crops(count=12 * BATCH, height=height, width=width) for height, width in ((256, 256), (375, 500))
)
CASES = (
    Case("32×32 raw", Crops(count=20 * BATCH, height=32, width=32), 32, "raw", CIFAR_LIKE),
    Case("224 from 256×256 raw", SQUARES, 224, "raw", IMAGENET_LIKE),
    Case("224 from 256×256 JPEG", SQUARES, 224, "jpeg", IMAGENET_LIKE),
    Case("224 from 500×375 JPEG", PHOTOGRAPHS, 224, "jpeg", IMAGENET_LIKE),
)


def rows() -> Iterator[dict[str, Any]]:
    """Rates of every loader for every case and number of cores, then the seconds until the first batch."""
    with tempfile.TemporaryDirectory() as root:
        for number, case in enumerate(CASES):
            prepare(case.data(root))
            for cores in sorted({1, min(2, len(os.sched_getaffinity(0)))}):
                yield from _bound(number, root, cores)
        yield from _first_batches(root)


BOUND = """
import json, os, sys
number, root, cores = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # before any library counts cores, or starts a thread
from tests.bench import data
case = data.CASES[number]
print(json.dumps(list(data.compare(case, data.prepare(case.data(root)), root, cores))))
"""


def _bound(number: int, root: str, cores: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", BOUND, str(number), root, str(cores)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(case: Case, prepared: Prepared, root: str, cores: int) -> Iterator[dict[str, Any]]:
    """The rates of every loader; to be called in a process that is bound to this number of cores."""
    torch.set_num_threads(cores)
    loaders = {
        "raykd": _raykd(case, prepared, root, cores),
        "FFCV's own": _ffcv(case, prepared.train, cores),
        "DataLoader, PIL": _torch(case, prepared.train, cores, pil=True),
        "DataLoader, torchvision.v2": _torch(case, prepared.train, cores, pil=False),
    }
    if case.mode == "jpeg":
        loaders["plain libjpeg-turbo decoding"] = _plain(prepared.train, cores)
    found = _in_turns(loaders)
    for name, (wall, cpu) in found.items():
        yield {
            "case": case.title,
            "cores": cores,
            "loader": name,
            "images/s": round(statistics.median(wall)),
            "per CPU second": round(statistics.median(cpu)),
            "raykd is": f"{statistics.median(a / b for a, b in zip(found['raykd'][0], wall)):.2f}×",
            "in CPU time": f"{statistics.median(a / b for a, b in zip(found['raykd'][1], cpu)):.2f}×",
        }


def _in_turns(loaders: dict[str, Callable[[], int]]) -> dict[str, tuple[list[float], list[float]]]:
    """Images per second of wall clock and of CPU time, all loaders in each round; the first round warms up."""
    found = {name: ([], []) for name in loaders}
    for turn in range(ROUNDS + 1):
        for name, call in loaders.items():
            wall, cpu = time.perf_counter(), _cpu_seconds()
            images = call()
            if turn:
                found[name][0].append(images / (time.perf_counter() - wall))
                found[name][1].append(images / (_cpu_seconds() - cpu))
    return found


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _raykd(case: Case, prepared: Prepared, root: str, cores: int) -> Callable[[], int]:
    placement = Placement(torch.device("cpu"), cores)
    loader = TrainLoader(case.data(root), prepared, placement, batch_size=BATCH, seed=0, channels_last=True)
    return lambda: sum(len(batch.images) for batch in loader.batches(0, case.repeats * case.source.count // BATCH))


def _ffcv(case: Case, path: Path, cores: int) -> Callable[[], int]:
    from ffcv.fields.rgb_image import RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, RandomTranslate, ToTensor, ToTorchImage

    mean, std = np.array(MEAN) * 255, np.array(STD) * 255
    decode = [SimpleRGBImageDecoder(), RandomHorizontalFlip(), RandomTranslate(padding=4)]
    if case.size != 32:
        decode = [RandomResizedCropRGBImageDecoder((case.size, case.size)), RandomHorizontalFlip()]
    finish = [NormalizeImage(mean, std, np.float32), ToTensor(), ToTorchImage()]
    loader = Loader(
        str(path),
        batch_size=BATCH,
        num_workers=cores,
        order=OrderOption.RANDOM,
        pipelines={"image": decode + finish},
    )
    return lambda: sum(len(images) for _ in range(case.repeats) for images, _ in loader)


class Stored(torch.utils.data.Dataset):
    """The images of a .beton file one by one, as if read from a folder of files."""

    def __init__(self, path: Path, case: Case, pil: bool):
        from torchvision import transforms as v1
        from torchvision.transforms import v2

        self.header, self.pil, kind = Header(path), pil, v1 if pil else v2
        crop = kind.RandomCrop(32, padding=4) if case.size == 32 else kind.RandomResizedCrop(case.size)
        end = [v1.ToTensor()] if pil else [v2.ToDtype(torch.float32, scale=True)]
        self.transform = kind.Compose([crop, kind.RandomHorizontalFlip(), *end, kind.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.header.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        from PIL import Image
        from torchvision.io import decode_jpeg

        header = self.header
        data = np.fromfile(header.path, np.uint8, header.sizes[index], offset=header.offsets[index])
        if header.jpeg[index] and self.pil:
            import io

            image = Image.open(io.BytesIO(data.tobytes())).convert("RGB")
        elif header.jpeg[index]:
            image = decode_jpeg(torch.from_numpy(data))
        else:
            data = data.reshape(*header.shapes[index], 3)
            image = Image.fromarray(data) if self.pil else torch.from_numpy(data).permute(2, 0, 1)
        return self.transform(image), int(header.labels[index])


def _torch(case: Case, path: Path, cores: int, pil: bool) -> Callable[[], int]:
    # In the main process for one core: a worker process beside it would be a second one.
    workers = {} if cores == 1 else {"num_workers": cores}
    loader = torch.utils.data.DataLoader(Stored(path, case, pil), batch_size=BATCH, shuffle=True, **workers)
    return lambda: sum(len(images) for images, _ in loader)


def _plain(path: Path, cores: int) -> Callable[[], int]:
    import ctypes

    from raykd.data.ffcv.libjpeg import turbojpeg

    library, header, content = turbojpeg(), Header(path), np.fromfile(path, np.uint8)
    library.tjInitDecompress.restype = ctypes.c_void_p

    def some(first: int) -> int:
        decoder, out = (
            ctypes.c_void_p(library.tjInitDecompress()),
            np.empty(int(header.shapes.prod(1).max()) * 3, np.uint8),
        )
        indices = range(first, len(header.labels), cores)
        for i in indices:
            address, size = content.ctypes.data + int(header.offsets[i]), int(header.sizes[i])
            (height, width), target = header.shapes[i].tolist(), ctypes.c_void_p(out.ctypes.data)
            jpeg = ctypes.c_void_p(address), ctypes.c_ulong(size)
            if library.tjDecompress2(decoder, *jpeg, target, width, 0, height, 0, 0):
                raise RuntimeError(f"image {i} did not decode")
        library.tjDestroy(decoder)
        return len(indices)

    def run() -> int:
        with ThreadPoolExecutor(cores) as pool:
            return sum(pool.map(some, range(cores)))

    return run


FIRST = """
import sys, time
from tests.bench import data
case, root, kind = data.CASES[int(sys.argv[1])], sys.argv[2], sys.argv[3]
prepared = data.prepare(case.data(root))
began = time.perf_counter()
loader = data._raykd(case, prepared, root, 2) if kind == "raykd" else data._ffcv(case, prepared.train, 2)
loader()
first = time.perf_counter() - began
began = time.perf_counter()
loader()
print(first - (time.perf_counter() - began))
"""


def _first_batches(root: str) -> Iterator[dict[str, Any]]:
    """Seconds that the first epoch takes more than the second: imports and compilation, in fresh processes."""
    for number in (0, len(CASES) - 1):
        for name, kind, cold in (
            ("raykd, machine's first run", "raykd", True),
            ("raykd", "raykd", False),
            ("FFCV's own", "ffcv", False),
        ):
            with tempfile.TemporaryDirectory() as cache:
                environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cold else {})
                command = [sys.executable, "-c", FIRST, str(number), root, kind]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            yield {
                "case": f"{CASES[number].title}: start-up seconds",
                "cores": 2,
                "loader": name,
                "images/s": "",
                "per CPU second": "",
                "raykd is": f"{float(done.stdout.split()[-1]):.1f} s",
                "in CPU time": "",
            }

"""What the sources share: lists of image files as examples, and clear words about what is missing."""

from collections.abc import Sequence
from pathlib import Path

from raykd import UserError
from raykd.data.sources.examples import Examples

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}


def read_rgb(path: Path):
    """An image file as uint8 [H, W, 3]; raises OSError or ValueError where it is corrupt."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def from_files(paths: Sequence[Path], labels: Sequence[int]) -> Examples:
    """Examples of image files."""
    return Examples(labels, lambda i: read_rgb(paths[i]), lambda i: str(paths[i]))


def folder(source, path: str, *needed: str) -> Path:
    """The data set's own folder; raises UserError unless it has all that is needed."""
    base = Path(path).expanduser()
    if not path:
        raise UserError(f"{source.name}: say where it is with --data.source.path")
    for name in needed:
        if not (base / name).exists():
            raise UserError(
                f"{source.name}: {base / name} is missing; data.source.path is the folder with {', '.join(needed)}"
            )
    return base


def lines(path: Path) -> list[str]:
    """The lines of a text file that aren't empty; raises UserError where there is no such file."""
    if not path.is_file():
        raise UserError(f"{path} is missing")
    return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def from_folders(base: Path, classes: Sequence[str]) -> Examples:
    """Examples below base/CLASS/, in sorted order; raises UserError for a class that has no folder."""
    paths, labels = [], []
    for label, name in enumerate(classes):
        if not (base / name).is_dir():
            raise UserError(f"{base} has no folder {name}, which the training split has")
        found = sorted(path for path in (base / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise UserError(f"{base} holds no images")
    return from_files(paths, labels)


def subfolders(base: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted: the classes of an ImageFolder."""
    return tuple(sorted(path.name for path in base.iterdir() if path.is_dir()))

"""What sources share: image files as examples, text files as lists, and messages for missing files."""

from collections.abc import Sequence
from pathlib import Path

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Examples
from raykd.data.reading.listing import Skipped, find_images

ALLOW = "allow the download with `raykd data prepare --download`, or --data.download for other commands"


def from_files(paths: Sequence[Path], labels: Sequence[int]) -> Examples:
    """Examples of image files."""
    return Examples(labels, lambda i: paths[i], lambda i: str(paths[i]))


def folder(source: Source, path: str, *needed: str) -> Path:
    """The data set's folder; raises UserError unless it contains all that is needed."""
    base = Path(path).expanduser()
    if not path:
        raise UserError(f"{source.name}: set its folder with --data.source.path")
    for name in needed:
        if not (base / name).exists():
            raise UserError(
                f"{source.name}: {base / name} is missing; data.source.path must be the folder with {', '.join(needed)}"
            )
    return base


def lines(path: Path) -> list[str]:
    """The non-empty lines of a text file; raises UserError if the file is missing."""
    if not path.is_file():
        raise UserError(f"{path} is missing: restore the data set")
    return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]


def column(rows: Sequence[str], number: int, path: Path, separator: str | None = None) -> list[str]:
    """One column of a text file's rows; raises UserError for a row that lacks it."""
    split = [row.split(separator) for row in rows]
    for row, cells in zip(rows, split, strict=True):
        if len(cells) <= number:
            raise UserError(f"{path} has the line {row[:60]!r} without column {number + 1}: restore the file")
    return [cells[number] for cells in split]


def from_folders(base: Path, classes: Sequence[str], skipped: Skipped) -> Examples:
    """Examples below base/CLASS/, sorted; a class may lack a folder. Raises UserError if there are no images."""
    paths, labels = [], []
    for label, name in enumerate(classes):
        images = find_images(base / name, skipped) if (base / name).is_dir() else []
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise UserError(f"{base} contains no images: add a folder of images for each class, or correct the path")
    return from_files(paths, labels)

"""Tables with one row for each image: CSV, parquet (Hugging Face's too), and plain lists of paths."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.data.config import Source
from raykd.data.examples import Examples, Splits, numbered
from raykd.data.reading.labels import NONE, numerals, renumbered
from raykd.data.reading.pictures import DECODE_ERRORS, suffixes
from raykd.fields import ClassNames, Fraction, Given
from raykd.output import one_line

Column = list[Any]


@dataclass(frozen=True, kw_only=True)
class Table(Source):
    """Rows of (image, label) in .csv, .tsv or .parquet files; a label may be missing, or the whole column.

    Images are paths, relative to their table's folder, or bytes, or the structs of both that Hugging Face writes. Any
    other file is a list of paths, one a line, without labels.
    """

    name = "table"
    description = "CSV or parquet of (path or bytes of an image, label), or a list of paths"
    path: Given
    """The table of training images: a file or a pattern, such as data/train-*.parquet."""
    test: str = ""
    """The table of test images; empty: a share of the training images is held out."""
    image: str = "image"
    """Name of the column of images; a CSV without such a column: the first one."""
    label: str = "label"
    """Name of the column of labels, numbers or text; empty: there is none. A CSV without such a column: the second
    one."""
    images: str = ""
    """Folder that paths are relative to; empty: the table's own."""
    classes: ClassNames = ()
    """Names of the labels 0, 1, …; empty: as the table has them."""
    test_share: Fraction = 0.2
    """Share of each class held out as test split if there is no test table."""

    def paths(self) -> tuple[Path, ...]:
        tables = matching(self.path, self.test)
        lists = [table for table in tables if not embeds_images(table, self.image)]
        files = [image for table in lists for image in self._read(table)[0] if isinstance(image, Path)]
        return (*tables, *(path for path in files if path.is_file())) or (Path(self.path).expanduser(),)

    def open(self, root: Path, download: bool) -> Splits:
        train, names = self._rows(self.path, ())
        test = None
        if self.test:
            test, names = self._rows(self.test, names)
        return numbered(train, test, self.classes or names, self.test_share, self.path)

    def _rows(self, pattern: str, names: Sequence[str]) -> tuple[Examples, Sequence[str]]:
        """The rows of all the tables that a pattern names, and names of the labels' numbers.

        names: those that are known from other tables; each table may count its classes in its own order.
        """
        images, labels = [], []
        for path in matching(pattern):
            more, label_column, own = self._read(path)
            names = names or own
            images += more
            labels += renumbered(label_column, own, names, str(path))
        if not images:
            raise UserError(f"{pattern} matches no table with rows: set data.source.path to a file or a pattern")
        return self._examples(images, labels, pattern), names

    def _read(self, path: Path) -> tuple[Column, Column, Sequence[str]]:
        try:
            if path.suffix.lower() == ".parquet":
                images, labels, names = self._parquet(path)
            elif path.suffix.lower() in (".csv", ".tsv"):
                images, labels, names = *self._csv(path), ()
            else:
                images, labels, names = *listed(path), ()
        except DECODE_ERRORS + (csv.Error,) as error:
            raise UserError(f"{path} can't be read as a table ({one_line(str(error))}): it may be damaged") from error
        base = Path(self.images).expanduser() if self.images else path.parent
        return [base / image if isinstance(image, str) else image for image in images], labels, names

    def _parquet(self, path: Path) -> tuple[Column, Column, Sequence[str]]:
        import pyarrow.parquet

        columns = pyarrow.parquet.read_schema(path).names
        wanted = [self.image, self.label] if self.label else [self.image]
        for name in wanted:
            if name not in columns:
                raise UserError(f"{path} has no column {name!r}; it has {', '.join(columns)}")
        table = pyarrow.parquet.read_table(path, columns=wanted)
        images = [stored(value) for value in table[self.image].to_pylist()]
        labels = table[self.label].to_pylist() if self.label else [None] * len(images)
        names = hugging_face_names(table.schema.metadata or {}, self.label)
        # Hugging Face stores a missing class as −1.
        return images, [None if names and label == NONE else label for label in labels], names

    def _csv(self, path: Path) -> tuple[Column, Column]:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = [row for row in csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",") if row]
        header = rows[0] if rows else []
        named = self.image in header
        if rows and not named and Path(header[0]).suffix.lower() not in suffixes():
            there = one_line(", ".join(header))[:200]
            raise UserError(
                f"{path} has no column {self.image!r}, and its first row names no image: {there}. "
                "Its columns are separated by a comma (.csv) or a tab (.tsv); other names: data.source.image, label"
            )
        at = header.index(self.image) if named else 0
        label_column = self._label_column(path, header, named)
        rows = rows[1:] if named else rows
        for line, row in enumerate(rows, 1 + named):
            if len(row) <= max(at, label_column):
                raise UserError(f"{path}, row {line}: {len(row)} columns, too few for an image and its label")
        labels = [row[label_column].strip() or None for row in rows] if label_column >= 0 else [None] * len(rows)
        return [row[at].strip() for row in rows], numerals(labels, str(path))

    def _label_column(self, path: Path, header: Sequence[str], named: bool) -> int:
        """The column of the labels; −1: none."""
        if not self.label or (not named and len(header) == 1):
            return -1
        if not named:
            return 1
        if self.label not in header:
            raise UserError(f"{path} has no column {self.label!r}; it has {', '.join(header)}")
        return header.index(self.label)

    def _examples(self, images: Column, labels: Column, origin: str) -> Examples:
        def name(i: int) -> str:
            return str(images[i]) if isinstance(images[i], Path) else f"{origin}, row {i + 1}"

        def read(i: int) -> Any:
            if images[i] is None:
                raise ValueError("there is no image")
            return images[i]

        return Examples(labels, read, name)


def embeds_images(table: Path, column: str) -> bool:
    """Whether a parquet file holds the bytes of all its images, by its metadata: not read at every start."""
    import pyarrow.parquet

    if table.suffix.lower() != ".parquet":
        return False
    try:
        metadata = pyarrow.parquet.read_metadata(table)
    except DECODE_ERRORS:  # reading the table reports it
        return False
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(metadata.num_columns)]
    images = [chunk.statistics for chunk in chunks if chunk.path_in_schema == f"{column}.bytes"]
    return bool(images) and all(each is not None and each.null_count == 0 for each in images)


def matching(*patterns: str) -> list[Path]:
    """Files that paths or glob patterns name, those of each pattern sorted; empty patterns name none."""
    files = []
    for path in (Path(pattern).expanduser() for pattern in patterns if pattern):
        files += [path] if path.is_file() else sorted(filter(Path.is_file, path.parent.glob(path.name)))
    return files


def listed(path: Path) -> tuple[Column, Column]:
    """Paths of a plain list, one a line."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()]
    paths = [line for line in lines if line and not line.startswith("#")]
    return paths, [None] * len(paths)


def stored(value: Any) -> Any:
    """An image of a parquet file: its bytes or its path; None if it is missing. Raises UserError for another type."""
    if isinstance(value, dict):
        return value.get("bytes") or value.get("path")
    if value is None or isinstance(value, (bytes, str)):
        return value
    raise UserError(f"data.source.image: that column has {type(value).__name__}, not paths or bytes: name another one")


def hugging_face_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...]:
    """Names of the classes, from the metadata that Hugging Face's `datasets` writes to parquet files; () if missing."""
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][label]
        return tuple(map(str, feature["names"]))
    except (KeyError, TypeError, ValueError):  # not written by `datasets`, or no column of classes
        return ()

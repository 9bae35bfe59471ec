"""Reads CSV files: UTF-8, with a head, and as many cells in every row."""

import csv
import io
from pathlib import Path

from raykd import UserError
from raykd.output import one_line
from raykd.runs.results.bounded import read_local


def read_csv(path: Path, most_bytes: int) -> tuple[list[str], dict[int, dict[str, str]]]:
    """The columns, and the cells of each row by its number, without empty rows; raises a one-line UserError."""
    try:
        text = io.StringIO(read_local(path, most_bytes).decode("utf-8-sig"), newline="")
        lines = [[one_line(cell) for cell in line] for line in csv.reader(text, strict=True)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a CSV file in UTF-8: {error}") from None
    head, rows = lines[0] if lines else [], {number: line for number, line in enumerate(lines[1:], 2) if line}
    for number, line in rows.items():
        if len(line) != len(head):
            raise UserError(f"{path}, row {number}: {len(line)} cells, not {len(head)}")
    return head, {number: dict(zip(head, line)) for number, line in rows.items()}

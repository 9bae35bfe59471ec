"""study.json: a study's runs by its names of rows and columns.

    {"name": "crd", "rows": ["Supervised", "KD"], "columns": ["resnet56 → resnet20"], "baseline": "Supervised",
     "cells": [{"row": "KD", "column": "resnet56 → resnet20", "seed": 0, "run": "KD/resnet56-resnet20/0",
                "status": "failed", "reason": "loss is not finite"}],
     "published": [{"row": "KD", "column": "resnet56 → resnet20", "value": 0.7066, "source": "CRD, table 1", …}]}

`run` is a run directory below the study's own. A cell without a finished run there is missing, for its reason.
"""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import model_validator

from raykd.reports.tables.published import Quoted
from raykd.runs.results.models import Model, Text
from raykd.runs.results.read import read_checked
from raykd.storage.folder import Folder

FILE = "study.json"
Status = Literal["waiting", "running", "finished", "stopped", "failed"]


class StudyCell(Model):
    """One run of a study, by its row, column and seed; `run` is its directory below the study's."""

    row: Text
    column: Text
    seed: int
    run: Text
    status: Status = "waiting"
    reason: Text = ""


class Study(Model):
    """A study's rows, columns and cells in their order."""

    name: Text
    rows: Annotated[list[Text], MinLen(1)]
    columns: Annotated[list[Text], MinLen(1)]
    baseline: Text = ""
    cells: list[StudyCell]
    published: list[Quoted] = []

    @model_validator(mode="after")
    def _belongs_together(self) -> "Study":
        for names in (self.rows, self.columns):
            if len(set(names)) < len(names):
                raise ValueError("two rows or two columns of one name")
        if self.baseline and self.baseline not in self.rows:
            raise ValueError(f"the baseline {self.baseline!r} is not a row")
        places = [(cell.row, cell.column, cell.seed) for cell in self.cells]
        if len(set(places)) < len(places):
            raise ValueError("two runs of one cell and seed")
        named = [(cell.row, cell.column) for cell in self.cells] + [(it.row, it.column) for it in self.published]
        for row, column in named:
            if row not in self.rows or column not in self.columns:
                raise ValueError(f"{row!r}, {column!r} is not a cell")
        for cell in self.cells:
            if PurePosixPath(cell.run).is_absolute() or ".." in PurePosixPath(cell.run).parts:
                raise ValueError(f"{cell.run!r} is outside the study")
        return self


def read_study(folder: Folder) -> Study:
    """study.json; raises a one-line UserError if it is invalid."""
    return read_checked(folder, FILE, Study)

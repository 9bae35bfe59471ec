"""A search from Python: its summary, its best trial, its trials."""

import csv
import io
from dataclasses import dataclass
from typing import Any

from raykd.api.run import Run
from raykd.storage.folder import Folder


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A search, given by its directory."""

    path: str
    """Directory of the search, a local path or a URI."""

    @property
    def summary(self) -> dict[str, Any]:
        """search.json: the space, the states of the trials, the best values and their test accuracy as a fraction."""
        return Folder(self.path).read_json("search.json")

    @property
    def values(self) -> dict[str, Any]:
        """The best trial's values by dotted field name."""
        return self.summary["values"]

    @property
    def best(self) -> Run:
        """The run of the best completed trial."""
        return Run(path=(Folder(self.path) / f"trials/{self.summary['best']}").location)

    @property
    def trials(self) -> Any:
        """trials.csv, one row for each trial: a pandas DataFrame, or without pandas a list of dicts of strings."""
        text = Folder(self.path).read("trials.csv").decode()
        try:
            import pandas
        except ImportError:
            return list(csv.DictReader(io.StringIO(text)))
        return pandas.read_csv(io.StringIO(text))

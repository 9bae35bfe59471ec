"""A search from Python: its summary, its best trial, its trials."""

import csv
import io
from dataclasses import dataclass
from typing import Any

from raykd import UserError
from raykd.api.run import Run
from raykd.output import masked
from raykd.runs.results.read import read_object
from raykd.storage.folder import Folder


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The result of `raykd.tune`, or any search, given by its directory."""

    path: str
    """Directory of the search, a local path or a URI."""

    def __repr__(self) -> str:
        return f"SearchResult(path={masked(self.path)!r})"

    @property
    def summary(self) -> dict[str, Any]:
        """The content of search.json: the space, the states of the trials, the best values and their test accuracy.

        Accuracies are fractions.

        Raises UserError if the search has not ended.
        """
        folder = Folder(self.path)
        if not folder.exists("search.json"):
            raise UserError(f"{folder} is not the directory of a search that has ended: it has no search.json")
        return read_object(folder, "search.json")

    @property
    def values(self) -> dict[str, Any]:
        """The best trial's values by dotted field name; raises UserError if no trial has completed."""
        return self._of_best("values")

    @property
    def best(self) -> Run:
        """The run of the best completed trial; raises UserError if there is none."""
        return Run(path=(Folder(self.path) / f"trials/{self._of_best('best')}").location)

    def _of_best(self, name: str) -> Any:
        """An entry of the summary about the best trial; raises UserError if no trial has completed."""
        summary = self.summary
        if not summary.get("best") or name not in summary:
            raise UserError(f"{Folder(self.path)}: no trial of this search has completed; trials.csv has the reasons")
        return summary[name]

    @property
    def trials(self) -> Any:
        """The content of trials.csv, one row for each trial: a pandas DataFrame, or without pandas a list of dicts.

        Without pandas, all values are strings. Raises UserError if the search has not ended.
        """
        folder = Folder(self.path)
        if not folder.exists("trials.csv"):
            raise UserError(f"{folder} is not the directory of a search that has ended: it has no trials.csv")
        text = folder.read("trials.csv").decode(errors="replace")
        try:
            import pandas
        except ImportError:
            return list(csv.DictReader(io.StringIO(text)))
        return pandas.read_csv(io.StringIO(text))

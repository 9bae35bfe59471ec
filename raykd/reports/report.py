"""`raykd report`: the comparison of runs and studies in the format of the file's suffix, and as a W&B Report."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from raykd import UserError
from raykd.reports.make import Report, make
from raykd.reports.output.csv_file import comparison, table_csv
from raykd.reports.output.latex import latex
from raykd.reports.output.markdown import markdown
from raykd.reports.output.page import page
from raykd.storage.folder import Folder


@dataclass(frozen=True, kw_only=True)
class Written:
    """The result of `raykd.report`."""

    report: Report
    """The content: rows with their statistics, tables, searches, and what was left out with the reason."""
    path: Path
    """The file that was written."""
    url: str
    """URL of the draft W&B Report; "": none."""


def report(runs: list[str], *, baseline: str = "", out: Path | None = None, wandb: bool = False) -> Written:
    """Compare runs and write the comparison.

    `runs` are run directories, folders of them, studies, searches, or wandb:ENTITY/PROJECT[/GROUP]. The suffix of `out`
    is the format: .html, .md, .csv or .tex. The file is written completely or not at all. An unreadable run is left
    out, and the report says so. Raises UserError if no run is left, for an unknown baseline or suffix, and if W&B can't
    be used.
    """
    out = out or Path("report.html")
    if out.suffix not in WRITERS:
        raise UserError(f"--out {out}: the suffix must be one of {', '.join(WRITERS)}")
    if wandb:
        from raykd.reports.output.publish import expect_package, publish

        expect_package()
    made = make(runs, baseline)
    write(out, WRITERS[out.suffix](made))
    return Written(report=made, path=out, url=publish(made, out) if wandb else "")


def write(out: Path, content: str) -> None:
    """Write the file; if that fails, an existing file is unchanged, and UserError is raised."""
    try:
        Folder(out.parent).write(out.name, content)
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror or error}; choose another --out") from None


def _csv(made: Report) -> str:
    """The table of the first study, if there is one, else the comparison."""
    return table_csv(made.tables[0]) if made.studies else comparison(made.entries)


WRITERS: dict[str, Callable[[Report], str]] = {".html": page, ".md": markdown, ".csv": _csv, ".tex": latex}

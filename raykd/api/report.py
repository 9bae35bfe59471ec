"""Reports from Python, and for `raykd report`."""

from pathlib import Path
from typing import TYPE_CHECKING

from raykd import UserError
from raykd.api.run import Run
from raykd.recipe.validate import check_argument, checked
from raykd.storage.local_copy import local_copy, of_results

if TYPE_CHECKING:
    from raykd.reports.report import Written


@checked
def report(
    *runs: Run | str | Path, baseline: str = "", out: str | Path = "report.html", wandb: bool = False
) -> "Written":
    """Compare runs in a report: tables, curves, gains over a baseline.

    runs: `Run`s, run directories, folders of them, studies, searches (paths or URIs), or wandb:ENTITY/PROJECT[/GROUP].
    baseline: method that gains are relative to; "": supervised training of the same student.
    out: file to write; its suffix is the format: .html, .md, .csv or .tex.
    wandb: also save a draft W&B Report; needs raykd[report].

    Raises UserError if no run can be read, for an unknown baseline or suffix, and if the file can't be written.
    """
    from raykd.reports.report import report as write

    if not runs:
        raise UserError("raykd report needs runs: raykd report runs/digits [--out report.html]")
    for i, run in enumerate(runs):
        check_argument(run, Run | str | Path, f"run {i}")
    given = [run.path if isinstance(run, Run) else str(run) for run in runs]
    copies = {path: local_copy(path, of_results) for path in given if "://" in path}
    local = [str(copies[path].path) if path in copies else path for path in given]
    return write(local, baseline=baseline, out=Path(out), wandb=wandb)

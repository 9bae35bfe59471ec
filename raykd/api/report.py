"""Reports from Python, and for `raykd report`."""

from pathlib import Path
from typing import TYPE_CHECKING

from raykd import UserError
from raykd.api.run import Run
from raykd.recipe.validate import expect
from raykd.storage.local_copy import local_copy, of_results

if TYPE_CHECKING:
    from raykd.reports.report import Written


def report(
    *runs: Run | str | Path, baseline: str = "", out: str | Path = "report.html", wandb: bool = False
) -> "Written":
    """Compare runs: tables, curves, gains over the baseline, in the format of the suffix of `out`.

    runs: `Run`s, run directories, folders of them, studies, searches, URIs of the storage, or
    wandb:ENTITY/PROJECT[/GROUP]. baseline: method that gains are relative to; "" for supervised training of the
    same student. out: .html, .md, .csv or .tex. wandb: save a draft W&B Report too.
    Raises UserError where no run can be read, and for an unknown baseline or suffix.
    """
    from raykd.reports.report import report as write

    if not runs:
        raise UserError("raykd report needs runs: raykd report runs/digits [--out report.html]")
    expect(baseline=(baseline, str), out=(out, str | Path), wandb=(wandb, bool))
    expect(**{f"run {i}": (run, Run | str | Path) for i, run in enumerate(runs)})
    given = [run.path if isinstance(run, Run) else str(run) for run in runs]
    copies = {path: local_copy(path, of_results) for path in given if "://" in path}
    local = [str(copies[path].path) if path in copies else path for path in given]
    return write(local, baseline=baseline, out=Path(out), wandb=wandb)

"""raykd report: compares runs, as a page, as tables, or as a W&B Report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from raykd.recipe.command_line import parse
from raykd.terminal import Terminal


@dataclass(frozen=True)
class Options:
    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN …")]
    """Run directories, folders of runs, searches or studies (paths or URIs), or wandb:ENTITY/PROJECT[/GROUP]."""
    baseline: str = ""
    """Method that gains are relative to; empty: supervised training of the same student."""
    out: Path = Path("report.html")
    """File to write: .html, .md, .csv or .tex."""
    wandb: bool = False
    """Also save the comparison as a draft W&B Report; needs raykd[report]."""


def run(arguments: Sequence[str]) -> int:
    """Write the report and print its path; returns the exit status."""
    from raykd.api.report import report

    default = Options(runs=())
    chosen = parse(
        Options, default, arguments, "raykd report", "Compare runs: tables, curves, gains over the baseline."
    )
    written = report(*chosen.runs, baseline=chosen.baseline, out=chosen.out, wandb=chosen.wandb)
    for line in written.report.left_out:
        Terminal(stderr=True).print(f"left out: {line}")
    console = Terminal()
    console.print(f"{written.path}: {written.report.summary}")
    if written.url:
        console.print(f"W&B draft: {written.url}")
    return 0

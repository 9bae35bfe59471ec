"""`raykd report`: the comparison of runs as one HTML page, as Markdown, as CSV, and as a W&B Report."""

import csv
import io
import math
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from raykd import UserError
from raykd.report.collect import RunRecord, collect
from raykd.report.compare import Spread, check_baseline, compare_rows
from raykd.report.measures import Entry, entries
from raykd.report.trials import Trials, read_trials

BASELINE = "Supervised"


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that the page shows, as numbers."""

    title: str
    made: str
    baseline: str
    entries: list[Entry]
    open_runs: list[RunRecord]  # not finished: listed, never averaged
    searches: list[Trials]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What `report` made."""

    report: Report
    path: Path
    url: str  # of the W&B Report, "" without one


def report(runs: list[str], *, baseline: str = "", out: Path | None = None, wandb: bool = False) -> Written:
    """Compare runs and write the comparison.

    `runs` are run directories, folders of them, searches, or wandb:ENTITY/PROJECT[/GROUP]. The format is that of
    `out`'s suffix: .html, .md or .csv. Raises UserError for input that is missing, broken or mixed.
    """
    out = out or Path("report.html")
    if out.suffix not in WRITERS:
        raise UserError(f"--out {out}: a report is {', '.join(WRITERS)}, by its suffix")
    made = make(runs, baseline)
    try:
        out.write_text(WRITERS[out.suffix](made), encoding="utf-8")
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}; choose another --out") from None
    url = ""
    if wandb:
        from raykd.report.publish import publish

        url = publish(made, out)
    return Written(report=made, path=out, url=url)


def make(sources: list[str], baseline: str = "") -> Report:
    """The comparison of all runs that the sources name."""
    records, searches = collect(sources)
    rows = compare_rows(records)
    if baseline:
        check_baseline(rows, baseline)
    open_runs = [record for record in records if record.status != "finished"]
    data = (
        ", ".join(dict.fromkeys(row.data for row in rows)) or ", ".join(s.name for s in searches) or "unfinished runs"
    )
    return Report(
        title=f"Distillation on {data}" if rows else f"Distillation: {data}",
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        baseline=baseline or BASELINE,
        entries=entries(rows, baseline or BASELINE),
        open_runs=open_runs,
        searches=[read_trials(record) for record in searches],
    )


def html(made: Report) -> str:
    from raykd.report.page import page

    return page(made)


COLUMNS = [
    *("data", "student", "method", "runs_name", "n", "split", "last_epoch", "top1_last", "top1_last_std"),
    *("best_epochs", "top1_best", "top1_best_std", "top5", "loss", "ece", "baseline", "gain", "gain_low", "gain_high"),
    *("teacher_top1", "gap_closed", "agreement_top1", "agreement_kl", "parameters", "multiply_adds", "hours"),
    *("hours_unit", "images_per_second", "published", "published_source"),
]
HEAD = [
    *("method", "n", "last epoch", "best epoch", "gain", "gap closed", "agreement", "parameters", "cost", "images/s"),
    "published",
]


def figures(item: Entry) -> dict[str, object]:
    """One line of the CSV, at full precision; None where there is no figure."""
    top1, kl = mean_agreement(item)
    values = {
        "data": item.row.data,
        "student": item.row.student,
        "method": item.row.label,
        "runs_name": item.row.name,
        "n": item.last.n,
        "split": item.row.split,
        "last_epoch": _epochs(item.last_epochs),
        "top1_last": item.last.mean,
        "top1_last_std": item.last.deviation,
        "best_epochs": _epochs(item.best_epochs),
        "top1_best": item.best.mean,
        "top1_best_std": item.best.deviation,
        "top5": item.top5.mean,
        "loss": item.loss.mean,
        "ece": item.ece.mean,
        "baseline": item.baseline.label if item.baseline else None,
        "gain": item.gain.difference if item.gain else None,
        "gain_low": item.gain.low if item.gain else None,
        "gain_high": item.gain.high if item.gain else None,
        "teacher_top1": item.teacher.mean,
        "gap_closed": item.closed,
        "agreement_top1": top1,
        "agreement_kl": kl,
        "parameters": item.parameters,
        "multiply_adds": item.flops,
        "hours": item.compute.mean,
        "hours_unit": item.unit,
        "images_per_second": item.images_per_second.mean,
        "published": " ".join(f"{p['metric']}={p['value']}" for p in item.published),
        "published_source": "; ".join(dict.fromkeys(p["source"] for p in item.published)),
    }
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def mean_agreement(item: Entry) -> tuple[float, float]:
    """Agreement with the teachers (share of equal top-1, KL), their mean where there are several."""
    found = list(item.agreement.values())
    if not found:
        return math.nan, math.nan
    return sum(top1.mean for top1, _ in found) / len(found), sum(kl.mean for _, kl in found) / len(found)


def _epochs(epochs: list[float]) -> str:
    return ", ".join(dict.fromkeys(f"{epoch:.3g}" for epoch in sorted(epochs)))


def table_csv(made: Report) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(figures(item) for item in made.entries)
    return out.getvalue()


def accuracy(value: Spread) -> str:
    """In percent: "78.93 ± 0.21", "78.93" for one run, "–" for none."""
    if not value.n:
        return "–"
    return f"{100 * value.mean:.2f}" + (f" ± {100 * value.deviation:.2f}" if value.n > 1 else "")


def number(value: float, form: str = ".3g", scale: float = 1.0, unit: str = "") -> str:
    return "–" if value is None or math.isnan(value) else f"{scale * value:{form}}{unit}"


def gain_text(item: Entry) -> str:
    """In percentage points with its interval: "+1.52 [+0.98, +2.06]"."""
    if item.gain is None:
        return "–"
    low, high = 100 * item.gain.low, 100 * item.gain.high
    interval = "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    return f"{100 * item.gain.difference:+.2f}{interval}"


def published_text(item: Entry) -> str:
    return "; ".join(f"{_quoted(p)} ({p['source']})" for p in item.published) or "–"


def _quoted(figure: dict) -> str:
    value = figure["value"]
    shown = f"{100 * value:.2f}" if figure["metric"].startswith("top") and value <= 1 else f"{value:g}"
    return shown if figure["metric"] == "top1" else f"{figure['metric']} {shown}"


def markdown_tables(made: Report) -> list[tuple[str, list[str], list[list[str]]]]:
    """(heading, column names, cells) of each (data set, student)."""
    tables: dict[tuple[str, str, str], list[list[str]]] = {}
    for item in made.entries:
        cells = [
            item.row.label,
            str(item.last.n),
            f"{accuracy(item.last)} (epoch {_epochs(item.last_epochs)})",
            f"{accuracy(item.best)} (epoch {_epochs(item.best_epochs)})",
            gain_text(item),
            number(item.closed, ".0f", 100, " %"),
            number(mean_agreement(item)[0], ".1f", 100, " %"),
            f"{item.parameters:,}",
            f"{item.compute.mean:.3g} {item.unit}",
            number(item.images_per_second.mean, ",.0f"),
            published_text(item),
        ]
        tables.setdefault((item.row.data, item.row.student, item.row.split), []).append(cells)
    return [(f"{data}: {student} ({split} split)", HEAD, cells) for (data, student, split), cells in tables.items()]


def markdown(made: Report) -> str:
    parts = [f"# {made.title}", "", f"Made {made.made} by raykd. {explanation(made)}", ""]
    for heading, head, cells in markdown_tables(made):
        parts += [f"## {heading}", "", *_table(head, cells), ""]
    if made.open_runs:
        parts += ["## Not finished, not in any mean", "", *_table(["run", "status", "epochs"], open_cells(made)), ""]
    for trials in made.searches:
        metric, mode = trials.record.settings["metric"], trials.record.settings["mode"]
        parts += [f"## Search {trials.record.name}: {metric} ({mode}), best trial {trials.best or '–'}", ""]
        cells = [[f.name, number(f.importance, ".2f"), number(f.correlation, "+.2f")] for f in trials.fields]
        parts += [*_table(["field", "importance", "rank correlation"], cells), ""]
    return "\n".join(parts)


def open_cells(made: Report) -> list[list[str]]:
    rows = []
    for run in made.open_runs:
        done = f"{run.lines[-1]['epoch']:.3g}" if run.lines else "0"
        rows.append([run.name, run.status, f"{done} of {run.recipe['epochs']:g}"])
    return rows


def explanation(made: Report) -> str:
    """What the figures are, in two sentences."""
    return (
        "Top-1 in % of the deployed network, mean ± sample standard deviation over n seeds, at the last epoch and at "
        "the best one (chosen on the same split, so optimistic). Gain: percentage points of the last epoch's mean over "
        f"{made.baseline} of the same student, with Welch's 95 % confidence interval."
    )


def _table(head: list[str], cells: list[list[str]]) -> list[str]:
    line = lambda items: "| " + " | ".join(item.replace("|", "\\|") for item in items) + " |"  # noqa: E731
    return [line(head), line(["---"] * len(head)), *map(line, cells)]


WRITERS = {".html": html, ".md": markdown, ".csv": table_csv}

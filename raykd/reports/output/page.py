"""The HTML page: one file with its style, figures and script inside."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from raykd.reports import measures
from raykd.reports.drawing.axes import percent
from raykd.reports.drawing.curves import Curve, accuracy_curves, deployed_curve, line_curves
from raykd.reports.drawing.lines import lines, reliability
from raykd.reports.drawing.parallel import parallel
from raykd.reports.drawing.ranks import critical_difference
from raykd.reports.drawing.scatter import Point, scatter
from raykd.reports.drawing.svg import labelled, look
from raykd.reports.make import Report
from raykd.reports.measures import Entry
from raykd.reports.output import markdown, text
from raykd.reports.output.columns import columns
from raykd.reports.table import Table
from raykd.reports.trials import Trials

MOST_CLASSES = 24  # of a data set with more classes, those that change most are shown
MOST_SECTIONS = 2  # that are open at first


@dataclass(frozen=True)
class Drawn:
    """One figure with its title and note; names: of its series, unless something else on the page names them."""

    title: str
    svg: str
    note: str = ""
    names: Sequence[str] = ()

    @property
    def legend(self) -> Sequence[str]:
        """The names for a legend; many series are labelled in the figure."""
        return () if labelled(len(self.names)) else self.names


def breakable(name: str) -> str:
    """HTML of a dotted name, which may be broken after dots and underscores, not within its words."""
    from markupsafe import Markup

    return Markup("<wbr>").join(part for part in re.split(r"(?<=[._])", name) if part)


def page(report: Report) -> str:
    """The whole page."""
    import jinja2

    assets = jinja2.PackageLoader("raykd.reports.output", "assets")
    environment = jinja2.Environment(loader=assets, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["breakable"] = breakable
    environment.globals |= {"text": text, "markdown": markdown, "look": look, "best_teacher": measures.best_teacher}
    of_sections = {"columns": columns, "overview": overview, "classes": classes, "details": details}
    environment.globals |= of_sections | {"figures_of_table": figures_of_table, "figure_of_trials": figure_of_trials}
    return environment.get_template("report.html.j2").render(
        report=report,
        folded=len(report.sections) > MOST_SECTIONS,
        style=assets.get_source(environment, "style.css")[0],
        script=assets.get_source(environment, "sort.js")[0],
    )


def figures_of_table(table: Table) -> list[Drawn]:
    return _not_empty([_ranks(table), _cost_of_rows(table)])


def _not_empty(figures: Sequence[Drawn]) -> list[Drawn]:
    return [figure for figure in figures if figure.svg]


def _ranks(table: Table) -> Drawn:
    if table.ranking is None:
        return Drawn("", "")
    note = "A bar at the right joins rows that can't be distinguished (Nemenyi's test, 5 %)."
    title = f"Average rank over {table.ranking.columns} columns"
    return Drawn(title, critical_difference(table.ranked, table.ranking), note)


def _cost_of_rows(table: Table) -> Drawn:
    means = {row: mean for row in table.rows if (mean := table.mean_over_columns(row))}
    points = [Point(row, hours, accuracy, float("nan")) for row, (hours, accuracy) in means.items()]
    drawing = scatter(points, x_label="device-hours of one run", y_label="top-1") if len(points) > 1 else ""
    return Drawn("Accuracy against cost, means over columns", drawing, names=[point.name for point in points])


def overview(items: Sequence[Entry]) -> list[Drawn]:
    """The figures that compare a section's rows."""
    curves = [deployed_curve(item.row) for item in items]
    note = "Mean over seeds, with a band from minimum to maximum." if any(item.last.n > 1 for item in items) else ""
    teacher = teacher_line(items)
    drawing = lines(curves, y_label="top-1", y_format=percent, most=1, reference=teacher, from_start=False)
    figures = [Drawn("Top-1 by epoch", drawing, note)]
    for title, label, value in SCATTERS:
        points = [Point(item.label, value(item), item.last.mean, item.last.deviation) for item in items]
        if len({point.x for point in points}) > 1:
            figures.append(Drawn(title, scatter(points, x_label=label.format(unit=items[0].unit), y_label="top-1")))
    return _not_empty([*figures, against_latency(items)])


def against_latency(items: Sequence[Entry]) -> Drawn:
    """Students and teachers measured by `raykd export --measure`; an empty figure if there are none."""
    points = [Point(item.label, 1000 * item.latency.mean, item.last.mean, item.last.deviation) for item in items]
    measured = [run.deployment for item in items for run in item.row.runs if run.deployment]
    teachers = {teacher.name: teacher for deployment in measured for teacher in deployment.networks[1:]}
    points += [
        Point(f"teacher {name}", 1000 * teacher.latency(1, 1), teacher.top1, float("nan"))
        for name, teacher in teachers.items()
        if teacher.top1 == teacher.top1
    ]
    machines = "; ".join(dict.fromkeys(deployment.machine for deployment in measured))
    note = f"By onnxruntime on {machines}." if machines.count(";") == 0 else f"On several machines: {machines}."
    drawing = scatter(points, x_label="ms of one image on one thread", y_label="top-1")
    return Drawn("Top-1 against latency", drawing, note, [point.name for point in points])


SCATTERS: list[tuple[str, str, Callable[[Entry], float]]] = [
    ("Top-1 against parameters", "parameters", lambda item: item.parameters),
    ("Top-1 against cost", "{unit} of one run", lambda item: item.compute.mean),
]


def teacher_line(items: Sequence[Entry]) -> tuple[str, float] | None:
    """Label and top-1 of the best teacher; None if no row has teachers."""
    accuracies = [item.teacher.mean for item in items if item.teacher.n]
    if not accuracies:
        return None
    alike = len({round(value, 4) for value in accuracies}) == 1
    return ("teacher" if alike else "best teacher"), max(accuracies)


def classes(items: Sequence[Entry]) -> dict[str, Any] | None:
    """Gains of each class over the baseline: rows in one order, bars of all methods on one scale."""
    gains = {item.label: measures.class_gains(item) for item in items}
    gains = {label: gain for label, gain in gains.items() if gain}
    if not gains:
        return None
    base = next(item.baseline.row for item in items if item.baseline.row and item.label in gains)
    names = [name for name in measures.class_accuracy(base) if all(name in gain for gain in gains.values())]
    change = {name: sum(abs(gain[name]) for gain in gains.values()) for name in names}
    shown = set(sorted(names, key=lambda name: -change[name])[:MOST_CLASSES])
    rows = [name for name in names if name in shown]
    largest = max((abs(gain[name]) for gain in gains.values() for name in rows), default=0) or 1.0
    return {
        "methods": list(gains),
        "baseline": base.label,
        "accuracy": measures.class_accuracy(base),
        "rows": [(name, [(gain[name], abs(gain[name]) / largest) for gain in gains.values()]) for name in rows],
        "hidden": len(names) - len(rows),
        "largest": largest,
    }


def details(item: Entry) -> list[Drawn]:
    """Figures of one row's networks, loss terms, notes and calibration."""
    row = item.row
    figures = []
    if len(networks := accuracy_curves(row)) > 1:
        options = {"y_label": "top-1", "y_format": percent, "most": 1, "from_start": False}
        figures.append(_curves("Top-1 of each network", networks, **options))
    terms = [curves[0] for curves in line_curves(row, "terms").values()]
    figures.append(_curves("Loss terms", terms, y_label="loss"))
    for part in ("notes", "measures"):
        for key, curves in line_curves(row, part).items():
            title = key.replace("_", " ")
            figures.append(_curves(title, curves, y_label=title))
    if bins := measures.calibration(row):
        error = f"Expected calibration error {item.metrics['ece'].mean:.3f}. " if item.metrics["ece"].n else ""
        figures.append(Drawn("Calibration", reliability(bins), f"{error}A dot's area grows with its images."))
    return _not_empty(figures)


def _curves(title: str, curves: Sequence[Curve], **options: Any) -> Drawn:
    """Curves over epochs; a single one is named by the title."""
    return Drawn(title, lines(curves, **options), names=[curve.name for curve in curves] if len(curves) > 1 else [])


def figure_of_trials(trials: Trials) -> str:
    """Parallel coordinates of at least two trials; "" for fewer."""
    maximize = trials.record.settings.mode == "max"
    return parallel(trials.fields, trials.scores, maximize) if len(trials.finished) > 1 and trials.fields else ""

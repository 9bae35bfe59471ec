"""The HTML page: one file with its style, figures and script inside."""

from collections.abc import Callable
from typing import Any

from raykd.report import report as text
from raykd.report import svg
from raykd.report.compare import Row
from raykd.report.measures import (
    Entry,
    accuracy_curves,
    best_teacher,
    calibration,
    class_gains,
    deployed_curve,
    line_curves,
)
from raykd.report.report import Report
from raykd.report.trials import Trials

CLASSES = 24  # of a data set with more classes, those that gain and lose most are shown


def page(made: Report) -> str:
    """The whole page."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("raykd.report", "assets"), autoescape=True, trim_blocks=True
    )
    environment.globals |= {"text": text, "percent": svg.percent, "colour": svg.colour, "nan": lambda v: v != v}
    source = environment.loader.get_source
    style, script = source(environment, "style.css")[0], source(environment, "sort.js")[0]
    return environment.get_template("report.html.j2").render(
        made=made, groups=groups(made), searches=[search(t) for t in made.searches], style=style, script=script
    )


def groups(made: Report) -> list[dict[str, Any]]:
    """What the page shows of each (data set, student, split)."""
    by_key: dict[tuple[str, str, str], list[Entry]] = {}
    for item in made.entries:
        by_key.setdefault((item.row.data, item.row.student, item.row.split), []).append(item)
    return [
        {"data": data, "student": student, "split": split, "entries": items, "figures": overview(items)}
        | {
            "details": [details(item, i) for i, item in enumerate(items)],
            "gains": gains(items),
            "teachers": teachers(items),
            "ensembles": ensembles(items),
        }
        for (data, student, split), items in by_key.items()
    ]


def figure(title: str, drawing: str, legend: list[str] | None = None, first: int = 0, note: str = "") -> dict[str, Any]:
    return {"title": title, "svg": drawing, "legend": legend or [], "first": first, "note": note}


def overview(items: list[Entry]) -> list[dict[str, Any]]:
    """The figures that compare a group's rows."""
    names = [item.row.label for item in items]
    curves = [deployed_curve(item.row) for item in items]
    note = "Mean over seeds; the band is their least and most." if any(item.last.n > 1 for item in items) else ""
    found = [figure("Top-1 by epoch", svg.lines(curves, svg.percent, "top-1"), names, note=note)]
    for title, label, value in SCATTERS:
        points = [(item.row.label, value(item), item.last.mean, item.last.deviation) for item in items]
        label = label.replace("UNIT", items[0].unit)
        found.append(figure(title, svg.scatter(points, x_label=label, y_label="top-1"), names))
    return found


SCATTERS: list[tuple[str, str, Callable[[Entry], float]]] = [
    ("Top-1 against parameters", "parameters", lambda item: item.parameters),
    ("Top-1 against cost", "UNIT of one run", lambda item: item.compute.mean),
]


def details(item: Entry, index: int) -> dict[str, Any]:
    """Figures of one row: every network, loss term and note, and its calibration."""
    row = item.row
    networks = accuracy_curves(row)
    figures = []
    if len(networks) > 1:
        figures.append(
            figure("Top-1 of each network", svg.lines(networks, svg.percent, "top-1"), [c.name for c in networks])
        )
    terms = [curves[0] for curves in line_curves(row, "terms").values()]
    if terms:
        figures.append(figure("Loss terms", svg.lines(terms, y_label="loss"), [c.name for c in terms]))
    for section in ("notes", "measures"):
        for name, curves in line_curves(row, section).items():
            legend = [c.name for c in curves] if len(curves) > 1 else []
            figures.append(figure(name.replace("_", " "), svg.lines(curves, y_label=name), legend))
    bins = calibration(row)
    if bins:
        note = (
            f"Expected calibration error {item.ece.mean:.3f}; a dot's area grows with its images." if item.ece.n else ""
        )
        figures.append(figure("Calibration", svg.reliability(bins, index), note=note))
    return {"entry": item, "figures": figures, "runs": [run_cells(row, i) for i in range(len(row.runs))]}


def run_cells(row: Row, index: int) -> dict[str, Any]:
    run = row.runs[index]
    epoch, networks = run.evaluations[-1]
    return {
        "name": run.name,
        "seed": run.labels.seed,
        "epoch": epoch,
        "networks": {name: figures["top1"] for name, figures in networks.items()},
        "teacher": best_teacher(run),
        "restarts": run.result.get("restarts") or 0,
        "seconds": run.result["seconds"],
        "url": run.result.get("wandb_url") or "",
    }


def gains(items: list[Entry]) -> list[dict[str, Any]]:
    """Per-class gains over the baseline, largest first."""
    found = []
    for item in items:
        classes = sorted(class_gains(item), key=lambda entry: -entry[2])
        if not classes:
            continue
        hidden = max(0, len(classes) - CLASSES)
        if hidden:
            classes = classes[: CLASSES // 2] + classes[-(CLASSES // 2) :]
        most = max(abs(change) for *_, change in classes) or 1.0
        bars = [
            {"name": name, "top1": top1, "gain": change, "share": abs(change) / most} for name, top1, change in classes
        ]
        found.append({"entry": item, "bars": bars, "hidden": hidden})
    return found


def teachers(items: list[Entry]) -> list[dict[str, Any]]:
    """Agreement of each row with each of its teachers, and what each teacher is."""
    found = []
    for item in items:
        said = item.row.runs[0].evaluation.get("teachers", {})
        for name, (top1, kl) in item.agreement.items():
            teacher = said.get(name, {})
            found.append({"method": item.row.label, "teacher": name, "top1": top1, "kl": kl, "about": teacher})
    return found


def ensembles(items: list[Entry]) -> list[dict[str, Any]]:
    """What several teachers of a row say together."""
    said = ((item.row.label, item.row.runs[0].evaluation.get("ensemble")) for item in items)
    return [{"method": label, **together} for label, together in said if together]


def search(trials: Trials) -> dict[str, Any]:
    fields = [(f.name, f.values, f.choices, f.log) for f in trials.fields]
    maximize = trials.record.settings["mode"] == "max"
    drawing = svg.parallel(fields, trials.scores, maximize) if len(trials.finished) > 1 and fields else ""
    order = sorted(range(len(trials.scores)), key=lambda i: -trials.scores[i] if maximize else trials.scores[i])
    ranked = [(trials.finished[i], trials.scores[i]) for i in order[:10]]
    weights = sorted(trials.fields, key=lambda f: -f.importance if f.importance == f.importance else 0.0)
    return {"trials": trials, "drawing": drawing, "ranked": ranked, "weights": weights}

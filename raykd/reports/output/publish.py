"""The comparison as a W&B Report: a draft that later calls update."""

import json
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.reports.make import Report
from raykd.reports.output import markdown, text
from raykd.reports.trials import Trials
from raykd.storage import atomic
from raykd.track.server import quiet_wandb, unreachable


def publish(report: Report, out: Path) -> str:
    """Save the draft and return its URL; raises UserError where W&B does not take it.

    Its identity lies beside the written report (report.html, report.wandb.json): the same `out` updates the same one.
    """
    trouble = unreachable()
    if trouble:
        raise UserError(f"--wandb: {trouble}; the report is in {out}")
    wandb = quiet_wandb()
    import wandb_workspaces.reports.v2 as reports

    identity_file = out.with_suffix(".wandb.json")
    known = json.loads(identity_file.read_text(encoding="utf-8")) if identity_file.exists() else {}
    target = _project_of(report)
    entity = target["entity"] or wandb.Api(timeout=20).default_entity
    draft = reports.Report(
        project=target["project"],
        entity=entity,
        title=report.title,
        description=f"Made {report.made} by raykd",
        width="fluid",
        blocks=blocks(reports, report, entity, target["project"]),
    )
    same = (known.get("entity"), known.get("project")) == (entity, target["project"])
    if same:
        draft.id = known["id"]
    draft.save(draft=True)
    known = {"id": draft.id, "entity": entity, "project": target["project"], "url": draft.url}
    atomic.write(identity_file, json.dumps(known).encode())
    return draft.url


def _project_of(report: Report) -> dict[str, Any]:
    """The W&B project of the runs; raises UserError if they belong to several."""
    settings = [run.recipe["wandb"] for item in report.entries for run in item.row.runs]
    settings += [search.record.settings["wandb"] for search in report.searches]
    places = {(each["entity"], each["project"]) for each in settings}
    if len(places) != 1:
        raise UserError(
            f"--wandb requires runs of one W&B project, but these belong to {len(places)}: report them separately"
        )
    ((entity, project),) = places
    return {"entity": entity, "project": project}


def blocks(reports: Any, report: Report, entity: str, project: str) -> list[Any]:
    """Text, tables, and W&B's own panels over the same runs."""
    content = [reports.TableOfContents()]
    for table in report.tables:
        content += [reports.H1(table.title), *_markdown(reports, markdown.table_parts(table))]
    if report.entries:
        content.append(reports.P(text.explain_rows(report.baseline)))
    for title, items in report.sections.items():
        content += [reports.H1(title), *_markdown(reports, markdown.section_parts(items))]
    if report.entries:
        content += [reports.H1("Curves"), _panels(reports, report, entity, project)]
    for search in report.searches:
        content += [reports.H1(f"Search {search.record.name}"), _search(reports, search, entity, project)]
    if report.open_runs:
        grid = markdown.grid(["run", "status", "epochs"], markdown.open_cells(report))
        content += [reports.H1("Not finished, not counted"), reports.MarkdownBlock(grid)]
    return content + _markdown(reports, markdown.notes(report))


def _markdown(reports: Any, parts: list[str]) -> list[Any]:
    return [reports.MarkdownBlock("\n\n".join(parts))] if parts else []


def _panels(reports: Any, report: Report, entity: str, project: str) -> Any:
    runs = [run for item in report.entries for run in item.row.runs]
    runsets = [_study_runs(reports, study, entity, project) for study in report.studies]
    others = [run for run in runs if not run.name.startswith(tuple(f"{study}/" for study in report.studies))]
    if others:
        names = ", ".join(json.dumps(run.name) for run in others)
        about = {"name": "the compared runs", "filters": f"Metric('Name') in [{names}]"}
        grouped = ["config.labels.data", "config.labels.student", "config.labels.method"]
        runsets.append(reports.Runset(entity=entity, project=project, groupby=grouped, **about))
    networks = dict.fromkeys(name for run in runs for _, nets in run.evaluations for name in nets)
    terms = dict.fromkeys(term for run in runs for line in run.lines for term in line.terms)
    accuracies = [f"evaluation/{name}/top1" for name in networks]
    return reports.PanelGrid(
        runsets=runsets,
        panels=[
            reports.LinePlot(title="Top-1", x="epoch", y=accuracies),
            reports.LinePlot(title="Loss terms", x="epoch", y=[f"terms/{term}" for term in terms]),
            reports.BarPlot(title="Top-1 of the last epoch", metrics=["top1"]),
            reports.ScatterPlot(title="Top-1 against parameters", x="parameters", y="top1"),
        ],
    )


def _study_runs(reports: Any, study: str, entity: str, project: str) -> Any:
    """The cells of a study, which are one W&B group, as one line for each: the mean of its seeds."""
    return reports.Runset(
        entity=entity,
        project=project,
        name=f"study {study}",
        filters=f"Metric('Group') == {json.dumps(study)}",
        groupby=["config.study.column", "config.study.row"],
    )


def _search(reports: Any, search: Trials, entity: str, project: str) -> Any:
    """W&B's sweep views of a search's trials, which are the runs of one group."""
    settings = search.record.settings
    runset = reports.Runset(
        entity=entity,
        project=project,
        name=f"trials of {search.record.name}",
        filters=f"Metric('Group') == {json.dumps(settings['wandb']['group'])}",
    )
    column = reports.ParallelCoordinatesPlotColumn
    columns = [
        column(metric=reports.Config(f"overrides.{field.name}"), display_name=field.name, log=field.log)
        for field in search.fields
    ]
    columns.append(column(metric=reports.SummaryMetric(settings["metric"]), display_name=settings["metric"]))
    return reports.PanelGrid(
        runsets=[runset],
        panels=[
            reports.ParallelCoordinatesPlot(title=f"Trials of {search.record.name}", columns=columns),
            reports.ParameterImportancePlot(with_respect_to=settings["metric"]),
        ],
    )

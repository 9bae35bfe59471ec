"""The comparison as a W&B Report: a draft that later calls update."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.reports.make import Report
from raykd.reports.output import markdown, text
from raykd.reports.trials import Trials
from raykd.storage import atomic
from raykd.track.server import quiet_wandb, unreachable


def expect_package() -> None:
    """Raise UserError if the package that W&B Reports need is not installed."""
    quiet_wandb()
    try:
        import wandb_workspaces.reports.v2  # noqa: F401
    except ImportError:
        raise UserError("--wandb needs the package wandb-workspaces: pip install 'raykd[report]'") from None


def publish(report: Report, out: Path) -> str:
    """Save the draft and return its URL; raises UserError where W&B does not take it.

    Its identity lies beside the written report (report.html, report.wandb.json): the same `out` updates the same one.
    """
    trouble = unreachable()
    if trouble:
        raise UserError(f"--wandb: {trouble}; the report is in {out}")
    import wandb_workspaces.reports.v2 as reports

    identity_file = out.with_suffix(".wandb.json")
    known = json.loads(identity_file.read_text(encoding="utf-8")) if identity_file.exists() else {}
    entity, project = _project_of(report)
    entity = entity or quiet_wandb().Api(timeout=20).default_entity
    draft = reports.Report(
        project=project,
        entity=entity,
        title=report.title,
        description=f"Made {report.made} by raykd",
        width="fluid",
        blocks=Blocks(reports, entity, project).of(report),
    )
    if (known.get("entity"), known.get("project")) == (entity, project):
        draft.id = known["id"]
    draft.save(draft=True)
    known = {"id": draft.id, "entity": entity, "project": project, "url": draft.url}
    atomic.write(identity_file, json.dumps(known).encode())
    return draft.url


def _project_of(report: Report) -> tuple[str, str]:
    """Entity and project of the runs at W&B; raises UserError if they belong to several."""
    settings = [run.recipe["wandb"] for item in report.entries for run in item.row.runs]
    projects = {(each["entity"], each["project"]) for each in settings}
    groups = [search.record.settings.wandb for search in report.searches]
    projects |= {(each.entity, each.project) for each in groups}
    if len(projects) != 1:
        raise UserError(
            f"--wandb requires runs of one W&B project, but these belong to {len(projects)}: report them separately"
        )
    return projects.pop()


@dataclass(frozen=True)
class Blocks:
    """Text, tables, and W&B's own panels over the runs of one project."""

    reports: Any  # the module wandb_workspaces.reports.v2
    entity: str
    project: str

    def of(self, report: Report) -> list[Any]:
        """A report's blocks."""
        content = [self.reports.TableOfContents()]
        for table in report.tables:
            content += [self.reports.H1(table.title), *self._markdown(markdown.table_parts(table))]
        if report.entries:
            content.append(self.reports.P(text.explain_rows(report.baseline)))
        for title, items in report.sections.items():
            content += [self.reports.H1(title), *self._markdown(markdown.section_parts(items))]
        if report.entries:
            content += [self.reports.H1("Curves"), self._curves(report)]
        for search in report.searches:
            content += [self.reports.H1(f"Search {search.record.name}"), self._trials(search)]
        if report.open_runs:
            grid = markdown.grid(["run", "status", "epochs"], markdown.open_cells(report))
            content += [self.reports.H1("Not finished, not counted"), *self._markdown([grid])]
        return content + self._markdown(markdown.notes(report))

    def _markdown(self, parts: list[str]) -> list[Any]:
        return [self.reports.MarkdownBlock("\n\n".join(parts))] if parts else []

    def _runset(self, name: str, filters: str, groupby: tuple[str, ...] = ()) -> Any:
        about = {"name": name, "filters": filters, "groupby": list(groupby)}
        return self.reports.Runset(entity=self.entity, project=self.project, **about)

    def _group(self, name: str, group: str, groupby: tuple[str, ...] = ()) -> Any:
        """The runs of a W&B group."""
        return self._runset(name, f"Metric('Group') == {json.dumps(group)}", groupby)

    def _curves(self, report: Report) -> Any:
        """The cells of each study, which are one W&B group, as one line for each: the mean of its seeds; other runs."""
        runs = [run for item in report.entries for run in item.row.runs]
        of_cell = ("config.study.column", "config.study.row")
        runsets = [self._group(f"study {study}", study, of_cell) for study in report.studies]
        others = [run for run in runs if not run.name.startswith(tuple(f"{study}/" for study in report.studies))]
        if others:
            names = ", ".join(json.dumps(run.name) for run in others)
            labels = ("config.labels.data", "config.labels.student", "config.labels.method")
            runsets.append(self._runset("the compared runs", f"Metric('Name') in [{names}]", labels))
        networks = dict.fromkeys(name for run in runs for _, nets in run.evaluations for name in nets)
        terms = dict.fromkeys(term for run in runs for line in run.lines for term in line.terms)
        accuracies = [f"evaluation/{name}/top1" for name in networks]
        return self.reports.PanelGrid(
            runsets=runsets,
            panels=[
                self.reports.LinePlot(title="Top-1", x="epoch", y=accuracies),
                self.reports.LinePlot(title="Loss terms", x="epoch", y=[f"terms/{term}" for term in terms]),
                self.reports.BarPlot(title="Top-1 of the last epoch", metrics=["top1"]),
                self.reports.ScatterPlot(title="Top-1 against parameters", x="parameters", y="top1"),
            ],
        )

    def _trials(self, search: Trials) -> Any:
        """W&B's sweep views of a search's trials, which are the runs of one group."""
        settings, metric = search.record.settings, search.record.settings.metric
        column = self.reports.ParallelCoordinatesPlotColumn
        columns = [
            column(metric=self.reports.Config(f"overrides.{field.name}"), display_name=field.name, log=field.log)
            for field in search.fields
        ]
        columns.append(column(metric=self.reports.SummaryMetric(metric), display_name=metric))
        return self.reports.PanelGrid(
            runsets=[self._group(f"trials of {search.record.name}", settings.wandb.group)],
            panels=[
                self.reports.ParallelCoordinatesPlot(title=f"Trials of {search.record.name}", columns=columns),
                self.reports.ParameterImportancePlot(with_respect_to=metric),
            ],
        )

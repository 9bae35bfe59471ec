"""The closing table of `raykd train`: teachers, student trained alone, distilled student."""

from typing import NamedTuple

from rich.table import Table

from raykd import UserError
from raykd.launch.driver.run import Finished
from raykd.recipe.files.shipped import path_of
from raykd.runs import directory
from raykd.runs.results.models import Evaluation, Result, TeacherAccuracy
from raykd.runs.results.read import read_evaluation, read_recipe, read_result
from raykd.storage.folder import Folder
from raykd.terminal import Terminal

ALONE = ("supervised", "alone")  # in the names of runs of a student without a teacher


class Row(NamedTuple):
    """A row of the table as text; directory: empty if it has none."""

    role: str
    network: str
    top1: str
    best: str
    parameters: str
    time: str
    directory: str


def summary(console: Terminal, finished: Finished, name: str, storage: str) -> None:
    """Print the closing table of a run with its teachers and, if it exists, its supervised counterpart."""
    run = Folder(finished.location)
    if not finished.trained:
        console.print(f"{name} is already finished; to train again, remove {finished.location} or give another --name")
        console.print(directory.how_to_train_on(run))
    role = "student alone" if finished.result.method == "Supervised" else "student distilled"
    alone, hint = _student_alone(run, name, storage) if role == "student distilled" else (None, "")
    rows = _teacher_rows(run)
    result = read_result(alone) if alone is not None else None
    if alone is not None and result is not None:
        rows.append(_row("student alone", alone, result))
    rows.append(_row(role, run, finished.result))
    console.print()
    _print(console, rows)
    if hint:
        console.print(f"({hint})", style="dim")


def _print(console: Terminal, rows: list[Row]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "network"):
        table.add_column(title)
    for title in ("top-1", "best", "parameters", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row[:-1])
    console.print(table)
    console.print()
    for row in rows:
        if row.directory:
            console.print(f"{row.role}: {row.directory}")


def _student_alone(run: Folder, name: str, storage: str) -> tuple[Folder | None, str]:
    """A sibling run that trained the same student alone, equally long and on the same data; or None and a hint."""
    from raykd.reports.compare import obstacles

    group = name.rpartition("/")[0]
    beside = Folder(storage) / group
    alone = f"{group}/supervised"
    own = f"train the recipe with method=Supervised.Config(), teachers=Teachers() and --name {name}_alone"
    how = f"run raykd train {alone}" if path_of(alone) else own
    hint = f"to compare with the student trained without a teacher, {how}"
    for sibling in beside.names():
        if not any(word in sibling.lower() for word in ALONE):
            continue
        other, place = beside / sibling, f"{group}/{sibling}".lstrip("/")
        try:
            result = read_result(other)
            if result is None or (result.status, result.method) != ("finished", "Supervised"):
                continue
            differing = obstacles(read_recipe(other), read_recipe(run))
        except UserError:  # a damaged run can't be compared with
            continue
        if not differing:
            return other, ""
        hint = f"{place}, trained alone, differs in {', '.join(differing)}; to compare, train it with the same settings"
    return None, hint


def _row(role: str, run: Folder, result: Result) -> Row:
    return Row(
        role,
        read_recipe(run)["student"]["name"],
        f"{100 * result.top1:.2f} %",
        f"{100 * result.top1_best:.2f} %",
        f"{result.parameters:,}",
        f"{result.seconds:.0f} s",
        run.location,
    )


def _teacher_rows(run: Folder) -> list[Row]:
    evaluation = read_evaluation(run)
    if evaluation is None:
        return []
    rows = [_teacher_row(run, name, teacher) for name, teacher in evaluation.teachers.items()]
    return [*rows, _ensemble_row(evaluation)] if "mean" in evaluation.ensemble else rows


def _ensemble_row(evaluation: Evaluation) -> Row:
    """All teachers together, by the mean of their probabilities."""
    teachers, top1 = evaluation.teachers.values(), evaluation.ensemble["mean"].top1
    parameters = sum(teacher.parameters for teacher in teachers)
    return Row("teachers' mean", f"{len(teachers)} networks", f"{100 * top1:.2f} %", "", f"{parameters:,}", "", "")


def _teacher_row(run: Folder, name: str, teacher: TeacherAccuracy) -> Row:
    """A teacher's accuracy on this run's evaluation split, which may differ from that of its own run."""
    place = directory.present_path(run, teacher.path)
    result = read_result(Folder(place)) if "/" in place else None
    row = Row("teacher", name, "", "", f"{teacher.parameters:,}", "", place)
    if result is not None:
        row = _row("teacher", Folder(place), result)
    return row._replace(top1=f"{100 * teacher.top1:.2f} %", best="")

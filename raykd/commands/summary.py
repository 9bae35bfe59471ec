"""The closing table of `raykd train`: teacher, student trained alone, distilled student."""

from typing import Any

from raykd import UserError
from raykd.launch.driver.display import table_of
from raykd.launch.driver.run import Finished
from raykd.recipe.shipped import path_of
from raykd.runs import directory
from raykd.runs.results import read_recipe, read_result
from raykd.storage.folder import Folder
from raykd.terminal import Terminal


def summary(console: Terminal, finished: Finished, name: str, storage: str) -> None:
    """Print the closing table of a run with its teachers and, if it exists, its supervised counterpart."""
    if not finished.trained:
        console.print(f"{name} is finished already; remove {finished.place} or give another --name to train again")
        console.print(directory.how_to_train_on(Folder(finished.place)))
    run = Folder(finished.place)
    evaluation = run.read_json("evaluation.json")
    rows = [_teacher_row(run, name, about) for name, about in evaluation["teachers"].items()]
    if evaluation["ensemble"]:
        rows.append(_ensemble_row(evaluation))
    role = "student alone" if finished.result["method"] == "Supervised" else "student distilled"
    alone, hint = _student_alone(run, name, storage) if role == "student distilled" else (None, "")
    result = directory.result_of(alone) if alone is not None else None
    if alone is not None and result is not None:
        rows.append(_row("student alone", alone, result))
    rows.append(_row(role, run, finished.result))
    console.print()
    table_of(console, rows)
    if hint:
        console.print(f"({hint})", style="dim")


def _student_alone(run: Folder, name: str, storage: str) -> tuple[Folder | None, str]:
    """The run beside this one in which the same student learned alone, as long and on the same data; or what to do."""
    from raykd.reports.compare import obstacles

    group = name.rpartition("/")[0]
    beside = Folder(storage) / group
    alone = f"{group}/supervised"
    how = f"run raykd train {alone}" if path_of(alone) else f"train it with Supervised.Config() as {alone}"
    hint = f"to compare with the student trained alone, {how}"
    for sibling in [sibling for sibling in beside.names() if "supervised" in sibling.lower()]:
        other = beside / sibling
        try:
            result = read_result(other)
            if result is None or (result.status, result.method) != ("finished", "Supervised"):
                continue
            found = obstacles(read_recipe(other), read_recipe(run))
        except UserError:  # a damaged run can't be compared with
            continue
        if not found:
            return other, ""
        hint = f"{group}/{sibling}, trained alone, differs in {', '.join(found)}: train it with the same settings"
    return None, hint


def _row(role: str, run: Folder, result: dict[str, Any]) -> dict[str, Any]:
    network = run.read_json("recipe.json")["student"]["name"]
    return {
        "role": role,
        "network": network,
        "top1": f"{100 * result['top1']:.2f} %",
        "best": f"{100 * result['top1_best']:.2f} %",
        "parameters": f"{result['parameters']:,}",
        "time": f"{result['seconds']:.0f} s",
        "place": run.place,
    }


def _ensemble_row(evaluation: dict[str, Any]) -> dict[str, Any]:
    """All teachers together, by the mean of their probabilities."""
    teachers = evaluation["teachers"].values()
    return {
        "role": "teachers' mean",
        "network": f"{len(teachers)} networks",
        "top1": f"{100 * evaluation['ensemble']['mean']['top1']:.2f} %",
        "best": "",
        "parameters": f"{sum(teacher['parameters'] for teacher in teachers):,}",
        "time": "",
        "place": "",
    }


def _teacher_row(run: Folder, name: str, about: dict[str, Any]) -> dict[str, Any]:
    """A teacher's accuracy on this run's evaluation split, which its own run may not share."""
    place = directory.where_it_is_now(run, about["path"])
    own = {"network": name, "parameters": f"{about['parameters']:,}", "time": "", "place": place}
    result = directory.result_of(Folder(place)) if "/" in place else None
    row = own if result is None else _row("teacher", Folder(place), result)
    return {**row, "role": "teacher", "top1": f"{100 * about['top1']:.2f} %", "best": ""}

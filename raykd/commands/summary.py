"""The end of `raykd train`: teacher, student alone, student distilled, side by side."""

from typing import TYPE_CHECKING, Any

from raykd.launch.driver.display import table_of
from raykd.launch.driver.run import Finished
from raykd.runs import directory
from raykd.storage.folder import Folder
from raykd.terminal import Terminal

if TYPE_CHECKING:
    from raykd.commands.train import Options


def summary(console: Terminal, finished: Finished, trained: list[str], chosen: "Options") -> None:
    """Print the closing table of a run with its teachers and, where there is one, its supervised sibling."""
    if not finished.trained:
        console.print(
            f"{chosen.name} is finished already; remove {finished.place} or give another --name to train again"
        )
    run = Folder(finished.place)
    evaluation = run.read_json("evaluation.json")
    rows = [_teacher_row(name, about) for name, about in evaluation["teachers"].items()]
    if evaluation["ensemble"]:
        rows.append(_ensemble_row(evaluation))
    sibling = Folder(chosen.storage) / f"{chosen.name.rpartition('/')[0]}/supervised"
    alone = directory.result_of(sibling)
    if alone is not None and alone["status"] == "finished" and sibling.place != run.place:
        rows.append(_row("student alone", sibling, alone))
    role = "student alone" if finished.result["method"] == "Supervised" else "student distilled"
    rows.append(_row(role, run, finished.result))
    console.print()
    table_of(console, rows)
    if alone is None and role == "student distilled":
        console.print("(no student trained alone to compare with: train the sibling recipe supervised.py)", style="dim")


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


def _teacher_row(name: str, about: dict[str, Any]) -> dict[str, Any]:
    """What a teacher reaches on this run's evaluation split; its own run may have had another."""
    run = Folder(about["path"]) if "/" in about["path"] else None
    result = directory.result_of(run) if run is not None else None
    own = {"network": name, "parameters": f"{about['parameters']:,}", "time": "", "place": about["path"]}
    row = own if result is None else _row("teacher", run, result)
    return {**row, "role": "teacher", "top1": f"{100 * about['top1']:.2f} %", "best": ""}

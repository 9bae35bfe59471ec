"""A run directory: what stands in it, who writes what, and when a run may go on under its name."""

import json
import time
from typing import Any

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.load import Loaded
from raykd.recipe.serial import differences, essence, from_dict, to_dict
from raykd.train.storage import Folder


def open_run(run: Folder, loaded: Loaded, recipe: Recipe, trained: list[str]) -> None:
    """Make the directory with its recipe and the recipe's source, or check that the one there is of the same recipe."""
    run.create()
    if run.exists("recipe.json"):
        refuse_other(run, recipe)
    run.write("recipe.json", json.dumps(to_dict(recipe), indent=1))
    run.write("teachers.json", json.dumps(trained))
    for name, text in loaded.sources.items():
        run.write(f"source/{name}", text)


def refuse_other(run: Folder, recipe: Recipe) -> None:
    """Raise UserError, naming the fields that differ, where the run there was made by another recipe."""
    there = from_dict(run.read_json("recipe.json"))
    found = differences(essence(there), essence(recipe))
    if found:
        raise UserError(
            f"{run.place} holds a run of another recipe (there / here): {'; '.join(found[:4])}. "
            "Give this one another --name, or remove that directory"
        )


def result_of(run: Folder) -> dict[str, Any] | None:
    """result.json, if there is one."""
    return run.read_json("result.json") if run.exists("result.json") else None


def start_attempt(run: Folder, workers: int, step: int) -> int:
    """Note that workers start (again); returns how many times the run has been restarted."""
    attempts = run.read_json("attempts.json") if run.exists("attempts.json") else []
    attempts.append({"started": time.time(), "workers": workers, "step": step})
    run.write("attempts.json", json.dumps(attempts))
    return len(attempts) - 1


def lines(run: Folder) -> list[dict[str, Any]]:
    """metrics.jsonl; a last line that a crash cut off is left out."""
    if not run.exists("metrics.jsonl"):
        return []
    found = []
    for text in run.read("metrics.jsonl").decode().splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found


def forget_after(run: Folder, step: int) -> list[dict[str, Any]]:
    """Drop the metric lines past a step, which will be made again; returns those that stay."""
    kept = [line for line in lines(run) if line["step"] <= step]
    run.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))
    return kept

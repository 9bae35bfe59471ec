"""Reads a run's files into validated values; invalid content is a one-line UserError that names it.

All reading of recipe.json, metrics.jsonl, evaluation.json and result.json happens here.
"""

import json
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from raykd import UserError
from raykd.output import one_line
from raykd.runs.results.bounded import read_bytes
from raykd.runs.results.models import Evaluation, Line, RecipeFields, Result
from raykd.storage.folder import Folder

SMALL, LARGE = 16 * 2**20, 2**30  # maximum bytes: of a JSON file or a line of metrics; of metrics.jsonl


T = TypeVar("T", bound=BaseModel)


def read_recipe(run: Folder) -> dict[str, Any]:
    """recipe.json as plain values, with its text unchanged."""
    content = read_object(run, "recipe.json")
    _checked(RecipeFields, content, f"{run}/recipe.json")
    return content


def read_result(run: Folder) -> Result | None:
    """result.json; None if it does not exist: the run has not ended."""
    return _optional(run, "result.json", Result)


def read_evaluation(run: Folder) -> Evaluation | None:
    """evaluation.json; None if it does not exist: the run has not ended, or ended without one."""
    return _optional(run, "evaluation.json", Evaluation)


def read_metrics(run: Folder) -> list[Line]:
    """Lines of metrics.jsonl by epoch; of two lines of one epoch the later; a truncated last line is skipped."""
    if not run.exists("metrics.jsonl"):
        return []
    lines = {line.epoch: line for line in _lines(run)}
    return [lines[epoch] for epoch in sorted(lines)]


def _lines(run: Folder) -> Iterator[Line]:
    texts = read_bytes(run, "metrics.jsonl", LARGE).splitlines()
    for number, text in enumerate(texts, 1):
        if len(text) > SMALL:
            raise UserError(f"{run}/metrics.jsonl, line {number}: more than {SMALL:,} bytes")
        try:
            yield Line.model_validate_json(text)
        except ValidationError as error:
            if number == len(texts) and not _is_json(text):
                return  # the process died while writing
            raise UserError(f"{run}/metrics.jsonl, line {number}: {first_of(error)}") from None


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_checked(run: Folder, name: str, kind: type[T]) -> T:
    """A JSON file as its model; raises a one-line UserError that names what is invalid."""
    return _checked(kind, read_bytes(run, name, SMALL), f"{run}/{name}")


def _optional(run: Folder, name: str, kind: type[T]) -> T | None:
    if not run.exists(name):
        return None
    return read_checked(run, name, kind)


def read_object(run: Folder, name: str) -> dict[str, Any]:
    """A JSON object from a file, with its text unchanged; raises UserError if the file has none."""
    if not run.exists(name):
        raise UserError(f"{run} is not a run directory: it has no {name}")
    try:
        content = json.loads(read_bytes(run, name, SMALL))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{run}/{name} is not valid JSON: {one_line(str(error))[:200]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{run}/{name}: not a JSON object")
    return content


def _checked(kind: type[T], content: dict[str, Any] | bytes, origin: str) -> T:
    try:
        if isinstance(content, bytes):
            return kind.model_validate_json(content)
        return kind.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{origin}: {first_of(error)}") from None


def first_of(error: ValidationError) -> str:
    """The first validation error, as "networks.student.top1: Input should be …"."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return one_line(f"{field}: {first['msg']}" if field else first["msg"])[:300]

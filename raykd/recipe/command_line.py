"""Fields of a recipe as options of the command line."""

import contextlib
import dataclasses
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import tyro

from raykd import UserError
from raykd.recipe import Recipe
from raykd.recipe.changes import change
from raykd.recipe.validate import validate

# What tyro prints on errors: titles of boxes, and lines with an option before those of its help text.
TITLES = "Value error|Parsing error|Missing argument|Unrecognized options|Required options|Invalid choice"
OPTION = r"(--[\w.-]+|[A-Z]{3,})([, ].*)?"


def parse(kind: Any, default: Any, arguments: Sequence[str], program: str, description: str) -> Any:
    """Parse arguments by tyro and check the ranges of their values; `--help` prints and exits with status 0.

    Raises UserError, in one line, for unknown options and invalid values.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed = tyro.cli(kind, default=default, args=list(arguments), prog=program, description=description)
    except SystemExit as exit:
        if not exit.code:
            raise
        raise UserError(_one_line(complaint.getvalue())) from None
    validate(parsed)
    return parsed


def _one_line(box: str) -> str:
    """tyro's complaint as a sentence, with the names of missing or similar options instead of their help texts."""
    lines = [text for line in box.splitlines() if (text := line.strip("│╭╮╰╯─ \t")).strip("-")]
    text = re.sub(rf"^({TITLES}) +", "", " ".join(lines))
    text = re.sub(r" *(For full helptext|Argument helptext:).*", "", text.removeprefix("Error parsing "))
    text, similar, _ = text.replace("Expected 1 values", "Expected 1 value").partition(" Perhaps you meant:")
    names = [line.split()[0].strip(",") for line in lines if re.fullmatch(OPTION, line)]
    if similar:
        return f"{text}: did you mean {' or '.join(names[:3])}?"
    missing = re.match(r"Missing from (raykd [a-z ]+): ", text)
    return f"{missing[1]} requires {', '.join(names)}" if missing else text


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """A recipe with fields changed by the rules of the command line: {"method.alpha": 0.3}.

    A dataclass replaces a whole section ({"method": DKD.Config()}), before other fields are set. A number at the end of
    a name is the index of an item: {"method.weights.1": 0.5}.
    """
    arguments = []
    for name, value in values.items():
        if dataclasses.is_dataclass(value) or name.rpartition(".")[2].isdigit():
            recipe = change(recipe, {name: value})
        elif isinstance(value, bool):
            section, dot, field = name.rpartition(".")
            arguments.append(f"--{section}{dot}{'' if value else 'no-'}{field}")
        else:
            many = isinstance(value, (tuple, list))
            arguments += [f"--{name}", *map(str, value if many else [value])]
    changed: Recipe = parse(Recipe, recipe, arguments, "override", "")
    return changed

"""Fields of a recipe as options of the command line."""

import ast
import contextlib
import io
import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, StructConstructorSpec, StructFieldSpec

from raykd import UserError
from raykd.models.config import is_plain
from raykd.recipe.validate import PLAIN, validate

# What tyro prints on errors: titles of boxes, and lines with an option before those of its help text.
TITLES = "Value error|Parsing error|Missing argument|Unrecognized options|Required options|Invalid choice"
OPTION = r"(--[\w.-]+|[A-Z]{3,})([, ].*)?"
REWORDED = {
    "Expected 1 values": "Expected 1 value",
    "Failed to parse key-value pairs!": 'give pairs of a keyword and a value, such as width 16 depths "(2, 2)"',
}

REGISTRY = ConstructorRegistry()


def parse(kind: Any, default: Any, arguments: Sequence[str], program: str, description: str) -> Any:
    """Parse arguments by tyro and check the ranges of their values; `--help` prints and exits with status 0.

    Raises UserError, in one line, for unknown options and invalid values.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed = tyro.cli(
                kind,
                default=default,
                args=list(arguments),
                prog=program,
                description=description,
                registry=REGISTRY,
            )
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
    for said, instead in REWORDED.items():
        text = text.replace(said, instead)
    text, similar, _ = text.partition(" Perhaps you meant:")
    names = [line.split()[0].strip(",") for line in lines if re.fullmatch(OPTION, line)]
    if similar:
        return f"{text}: did you mean {' or '.join(names[:3])}?"
    missing = re.match(r"Missing from (raykd [a-z ]+): ", text)
    return f"{missing[1]} requires {', '.join(names)}" if missing else text


def read_value(text: str) -> Any:
    """A value of a network's options from the command line: 3, 0.1, True, None, (2, 2), [2, 2], {"a": 1}, or a word.

    As Python and JSON write it; text in quotes is a word, too. Raises ValueError for an unfinished list.
    """
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, TypeError):
            return read(text)
    if text[:1] in ("(", "[", "{", "'", '"'):
        raise ValueError(f"{text} is not a value of Python or JSON")
    return text


def _written(value: Any) -> str:
    """What `read_value` reads as this value."""
    return value if isinstance(value, str) and read_value(value) == value else repr(value)


VALUE: PrimitiveConstructorSpec[Any] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="VALUE",
    instance_from_str=lambda words: read_value(words[0]),
    is_instance=is_plain,
    str_from_instance=lambda value: [_written(value)],
)


@REGISTRY.primitive_rule
def _any(info: tyro.constructors.PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    return VALUE if info.type is Any else None


@REGISTRY.struct_rule
def _keywords(info: tyro.constructors.StructTypeInfo) -> StructConstructorSpec | None:
    """Keywords that the recipe sets are options of their own: plain ones of the same type, others of any."""
    if info.type != dict[str, Any] or not info.default:
        return None
    anything: Any = Annotated[Any, VALUE]
    kinds = {key: type(value) if type(value) in PLAIN else anything for key, value in info.default.items()}
    fields = [StructFieldSpec(name=key, type=kind, default=info.default[key]) for key, kind in kinds.items()]
    return StructConstructorSpec(instantiate=dict, fields=tuple(fields))

"""Changes a recipe's fields, by their dotted names, to Python values, as studies and searches do."""

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, cast

from raykd import UserError
from raykd.models.config import is_plain
from raykd.recipe.serial import from_dict, to_dict, type_hints
from raykd.recipe.validate import PLAIN, validate


def change(section: Any, changes: Mapping[str, Any]) -> Any:
    """A copy of a recipe, or of a section of one, with fields replaced: {"method": DKD.Config(), "epochs": 3}.

    Names are dotted, such as "data.mixing". Whole sections are replaced before their fields. A number in a name is the
    index of an item, from 0: {"method.weights.1": 0.5}. A keyword of a network's options may be a new one:
    {"student.options.depths": (2, 2)}.
    Raises UserError for an unknown field, and for a value that is not of the field's type or not in its range.
    """
    for name, value in sorted(changes.items(), key=lambda item: item[0].count(".")):
        section = put(section, name.replace("-", "_").split("."), value, name)
    validate(section)
    return section


def put(section: Any, path: list[str], value: Any, name: str) -> Any:
    """A copy of a section with the value at a path replaced; raises UserError if there is no such field.

    name: the whole dotted name, for messages.
    """
    if isinstance(section, tuple) and path[0].isdecimal() and int(path[0]) < len(section):
        at = int(path[0])
        new = value if len(path) == 1 else put(section[at], path[1:], value, name)
        return (*section[:at], new, *section[at + 1 :])
    if isinstance(section, dict):
        key = ".".join(path)
        kind = type(section[key]) if type(section.get(key)) in PLAIN else Any
        return section | {key: _of_type(value, kind, name)}
    if not dataclasses.is_dataclass(section) or path[0] not in (field.name for field in dataclasses.fields(section)):
        raise UserError(f"there is no field {name}: {_what(section)} has no {path[0]!r}{_similar(section, path, name)}")
    if len(path) > 1:
        value = put(getattr(section, path[0]), path[1:], value, name)
    if len(path) == 1 or (len(path) == 2 and isinstance(value, tuple)):
        value = _of_type(value, type_hints(type(section))[path[0]], name)
    return dataclasses.replace(cast(Any, section), **{path[0]: value})


def _similar(section: Any, path: list[str], name: str) -> str:
    """A suggestion with the whole dotted name, if a section has a field of a similar name."""
    known = [field.name for field in dataclasses.fields(section)] if dataclasses.is_dataclass(section) else []
    close = get_close_matches(path[0], known, 1)
    return f"; did you mean {'.'.join([*name.split('.')[: -len(path)], *close, *path[1:]])}?" if close else ""


def _of_type(value: Any, kind: Any, name: str) -> Any:
    """The value converted to its field's type: 3 for a float is 3.0, a list for a tuple is a tuple."""
    converted = from_dict(to_dict(value), kind, name)
    return converted if is_plain(value) else value


def value_at(section: Any, path: list[str]) -> Any:
    """The value at a path; raises LookupError if there is no such field."""
    for at, part in enumerate(path):
        if isinstance(section, dict):
            return section[".".join(path[at:])]
        if isinstance(section, tuple) and part.isdecimal() and int(part) < len(section):
            section = section[int(part)]
        elif dataclasses.is_dataclass(section) and part in (field.name for field in dataclasses.fields(section)):
            section = getattr(section, part)
        else:
            raise LookupError(part)
    return section


def _what(section: Any) -> str:
    return type(section).__qualname__ if dataclasses.is_dataclass(section) else repr(section)

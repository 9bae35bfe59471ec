"""The fields of a plain recipe that affect its result, by which runs are distinguished.

A recipe's classes declare fields without effect (`raykd.fields.no_effect`) and defaults. Only classes that are cheap to
import are inspected; of the others (methods, user classes) every field counts.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from raykd.fields import affects_result
from raykd.recipe.fingerprint import fields_of
from raykd.recipe.serial import to_dict

LIGHT = ("raykd.recipe", "raykd.data", "raykd.models.config")  # modules that import neither torch nor FFCV
UNSET: tuple[object, ...] = (None, False, 0, "", "none", [], {})


def settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Values by dotted field, without defaults, so that runs from before a field existed are not distinguished by it.

    Of a teacher's or a data set's path only the last part is used, as the rest depends on the machine.
    """
    return dict(_leaves(recipe, ""))


def without_seeds(fields: dict[str, Any]) -> dict[str, Any]:
    """The settings that runs of one row share; lists of seeds count by their length."""
    common = {}
    for name, value in fields.items():
        leaf = name.rpartition(".")[2]
        if leaf == "seeds":
            common[name] = f"{len(value)} of them"
        elif leaf != "seed":
            common[name] = value
    return common


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of the settings in which two recipes differ."""
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]


def shown(recipe: dict[str, Any], name: str) -> str:
    """A setting's value as readable text, defaults included."""
    value: Any = recipe
    for part in name.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else "none"
        elif isinstance(value, dict):
            value = value.get(part, "default")
    if name.endswith("class"):
        return str(value).rpartition(":")[2].removesuffix(".Config")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _leaves(value: Any, name: str, stated: bool = False) -> Iterator[tuple[str, Any]]:
    """stated: the value is known to differ from its default, so it counts even if it is 0 or empty."""
    if isinstance(value, dict):
        fields = _fields(str(value.get("class")))
        for key, item in value.items():
            field = fields.get(key)
            if field is None or (affects_result(field) and not _is_default(item, field)):
                yield from _leaves(item, f"{name}.{key}".removeprefix("."), stated=field is not None)
    elif isinstance(value, list) and not name.endswith(".seeds"):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}.{i}", stated)
    elif stated or value not in UNSET or name.endswith("seeds"):
        yield name, _plain(value, name)


def _is_default(item: Any, field: dataclasses.Field) -> bool:
    if field.default is dataclasses.MISSING:
        return False
    return list(_leaves(item, "", True)) == list(_leaves(to_dict(field.default), "", True))


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and name.endswith(".path"):
        return PurePath(value).name
    if isinstance(value, str) and name.endswith("class"):
        return value.partition(":")[2] if value.startswith("raykd.") else value  # raykd's modules move
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _fields(path: str) -> dict[str, dataclasses.Field]:
    """The fields of a dataclass whose import is cheap; empty for others."""
    module = path.partition(":")[0]
    return fields_of(path) if any(f"{module}.".startswith(f"{light}.") for light in LIGHT) else {}

"""What of a recipe can change its result, read off its plain form: the fields by which runs are told apart.

A recipe's own classes say which of their fields change nothing (`raykd.fields.no_effect`) and what their defaults are.
Only classes that cost nothing to import are asked; of the others (methods, a user's own) every field counts.
"""

import dataclasses
import functools
import importlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from raykd.fields import affects_result
from raykd.recipe.serial import to_dict

LIGHT = ("raykd.recipe", "raykd.data.", "raykd.models.config")  # modules that import neither torch nor FFCV
UNSET = (None, False, 0, "", "none", [], {})


def settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Dotted field to value, defaults left out, so that a field that is newer than a run does not set it apart.

    Of a teacher's or a data set's path only the last part counts: machines differ in the rest.
    """
    return dict(_leaves(recipe, ""))


def without_seeds(fields: dict[str, Any]) -> dict[str, Any]:
    """The settings that the runs of one row have in common: each list of seeds counts by its length alone."""
    kept = {}
    for name, value in fields.items():
        leaf = name.rpartition(".")[2]
        if leaf == "seeds":
            kept[name] = f"{len(value)} of them"
        elif leaf != "seed":
            kept[name] = value
    return kept


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of the settings in which two recipes differ."""
    return [name for name in {**a, **b} if a.get(name) != b.get(name)]


def shown(recipe: dict[str, Any], name: str) -> str:
    """The value of a setting for a person to read, defaults included."""
    value: Any = recipe
    for part in name.split("."):
        if isinstance(value, list):
            value = value[int(part)] if int(part) < len(value) else "none"
        elif isinstance(value, dict):
            value = value.get(part, "default")
    if name.endswith("class"):
        return str(value).rpartition(":")[2].removesuffix(".Config")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        silent, defaults = _known(value.get("class", ""))
        for key, item in value.items():
            if key not in silent and item != defaults.get(key, dataclasses.MISSING):
                yield from _leaves(item, f"{name}.{key}".removeprefix("."))
    elif isinstance(value, list) and not name.endswith(".seeds"):
        for i, item in enumerate(value):
            yield from _leaves(item, f"{name}.{i}")
    elif value not in UNSET or name.endswith("seeds"):
        yield name, _plain(value, name)


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, str) and name.endswith(".path"):
        return PurePath(value).name
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@functools.cache
def _known(path: str) -> tuple[frozenset[str], dict[str, Any]]:
    """Of the dataclass "module:Qualified.Name": names of the fields without effect, and the defaults of the others."""
    module, _, qualified = path.partition(":")
    if not f"{module}.".startswith(tuple(f"{light.rstrip('.')}." for light in LIGHT)):
        return frozenset(), {}
    try:
        kind = functools.reduce(getattr, qualified.split("."), importlib.import_module(module))
        fields = dataclasses.fields(kind)
    except (ImportError, AttributeError, TypeError):  # a class of another version of raykd
        return frozenset(), {}
    silent = frozenset(field.name for field in fields if not affects_result(field))
    return silent, {field.name: _as_json(_default(field)) for field in fields}


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _as_json(value: Any) -> Any:
    return to_dict(value) if value is not dataclasses.MISSING else value

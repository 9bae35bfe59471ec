"""A recipe's fingerprint, and the part of it that determines its result.

A fingerprint leaves out the fields that have no effect on the result and those at their defaults, so that a recipe
keeps its fingerprint when raykd gets another field. A changed meaning, or a changed default, needs another VERSION.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import pkgutil
from typing import Any

from raykd.fields import affects_result
from raykd.models.libraries import trusted
from raykd.output import without_credentials
from raykd.recipe import Recipe, Train
from raykd.recipe.serial import classes_in, from_dict, is_retired, to_dict

VERSION = "v2"


def essence(recipe: Recipe, *, defaults: bool = True) -> dict[str, Any]:
    """The part of a recipe that determines its result, including the method's code; without credentials.

    defaults: whether to include fields at their defaults.
    """
    # Read back once: a recipe with epochs=12 is the same one as its copy from a file, which has 12.0.
    recipe = from_dict(to_dict(dataclasses.replace(recipe, search=None)))
    if recipe.teachers.cache == "float32":  # it keeps the live teachers' own numbers
        recipe = dataclasses.replace(recipe, teachers=dataclasses.replace(recipe.teachers, cache="none"))
    complete, method = to_dict(recipe), list(classes_in(recipe.method))
    own = [cls for cls in classes_in(_besides_method(recipe)) if cls.__module__.split(".")[0] != "raykd"]
    data: dict[str, Any] = effective(complete, defaults=defaults)
    for plain, source in zip(data.get("teachers", {}).get("sources", ()), recipe.teachers.sources, strict=False):
        if isinstance(source, Train):
            plain["recipe"] = essence(source.recipe, defaults=defaults)
    if recipe.student.module:
        data["student"]["code"] = code_version(trusted.callable_of(recipe.student.name))
    code = {"code": code_version(*method)} | ({"own": code_version(*own)} if own else {})
    result: dict[str, Any] = without_credentials(data) | code
    return result


def effective(plain: Any, *, defaults: bool = True) -> Any:
    """Plain data as from `to_dict`, without the fields that have no effect on a result.

    defaults: whether to include fields at their defaults. raykd's own classes are named without their modules, which
    may move.
    """
    if isinstance(plain, list):
        return [effective(item, defaults=defaults) for item in plain]
    if not isinstance(plain, dict):
        return plain
    fields = fields_of(plain.get("class"))
    selected = {"class": str(plain["class"]).partition(":")[2]} if fields else {}
    for name, value in plain.items():
        if name in selected or (fields and _has_no_effect(fields.get(name), name, value)):
            continue
        item = effective(value, defaults=defaults)
        if defaults or name not in fields or item != _default(fields[name]):
            selected[name] = item
    return selected


def _has_no_effect(field: dataclasses.Field[Any] | None, name: str, value: Any) -> bool:
    return is_retired(name, value) if field is None else not affects_result(field)


def _default(field: dataclasses.Field[Any]) -> Any:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return default if default is dataclasses.MISSING else effective(to_dict(default), defaults=False)


@functools.cache
def fields_of(path: Any) -> dict[str, dataclasses.Field[Any]]:
    """The fields of one of raykd's dataclasses, named as "module:Class"; empty for any other class."""
    if str(path).partition(":")[0].split(".")[0] != "raykd":
        return {}
    try:
        cls = pkgutil.resolve_name(str(path))
    except (ImportError, AttributeError, ValueError):  # a class that this version does not have
        return {}
    return {field.name: field for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}


def code_version(*defined: Any) -> str:
    """A hash of the source files that define classes and functions."""
    modules = dict.fromkeys(filter(None, (inspect.getmodule(each) for each in defined)))
    return hashlib.sha256("".join(map(inspect.getsource, modules)).encode()).hexdigest()[:16]


def _besides_method(recipe: Recipe) -> tuple[Any, ...]:
    """The parts of a recipe, other than the method, that affect its result and may be user-defined classes."""
    return recipe.data, recipe.optimizer, recipe.schedule, recipe.initialise


def fingerprint(recipe: Recipe) -> str:
    """A version and twelve hexadecimal digits; the same in every process and on every machine."""
    content = json.dumps(essence(recipe, defaults=False), sort_keys=True)
    return f"{VERSION}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def comparable(fingerprint: str) -> bool:
    """Whether a fingerprint has the current version; those of different versions can't be compared."""
    return fingerprint.startswith(f"{VERSION}-")


def of_earlier_version(stored: dict[str, Any], here: dict[str, Any]) -> dict[str, Any]:
    """An essence stored by version 1, in the current form; `here` is the one it will be compared with.

    Its hashes of code and of teachers' recipes can't be recomputed: they are assumed to be equal.
    """
    updated: dict[str, Any] = effective(stored, defaults=False) | {
        name: here[name] for name in ("code", "own") if name in here
    }
    if isinstance(updated.get("teachers"), dict):
        sources = here.get("teachers", {}).get("sources", [])
        for old, new in zip(updated["teachers"].get("sources", []), sources, strict=False):
            old |= {"recipe": new["recipe"]} if "recipe" in old and "recipe" in new else {}
    return updated


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Dotted names of the fields in which two plain values differ, as "epochs (12, here 30)"."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted(a.keys() | b.keys(), key=str)
        pairs = [(f"{where}.{key}".strip("."), a.get(key, "default"), b.get(key, "default")) for key in keys]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [(f"{where}.{i}".strip("."), *both) for i, both in enumerate(zip(a, b))]
    else:
        return [f"{where} ({a}, here {b})"] if a != b else []
    return [line for name, left, right in pairs for line in differences(left, right, name)]

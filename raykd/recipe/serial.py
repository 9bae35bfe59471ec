"""Recipes as plain JSON and back; what of a recipe determines its result."""

import dataclasses
import hashlib
import importlib
import inspect
import json
import sys
import types
import typing
from typing import Any, Literal

from raykd import UserError
from raykd.recipe import Recipe

# Fields that change how a run is carried out or shown, and not what it computes.
CIRCUMSTANCES = (
    "workers cpus_per_worker gpus_per_worker accelerator_type node_labels max_failures collective_timeout log_every "
    "checkpoint wandb debug search published"
).split()
DATA_CIRCUMSTANCES = ("root", "shared", "loader")
TEACHERS_CIRCUMSTANCES = ("max_parallel", "placement", "actors", "cpus_per_actor", "gpus_per_actor", "ahead")

# Fields of earlier versions that raykd no longer has, with the one value that changes nothing.
RETIRED = {"together": False}


def to_dict(value: Any) -> Any:
    """Dataclasses as dicts with their class under "class", tuples as lists; what JSON can't hold as its repr."""
    if dataclasses.is_dataclass(value):
        fields = {field.name: to_dict(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": f"{type(value).__module__}:{type(value).__qualname__}", **fields}
    if isinstance(value, dict):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_dict(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)


def from_dict(data: Any, kind: Any = Recipe, where: str = "recipe") -> Any:
    """The value of type `kind` that `to_dict` wrote; raises UserError naming the field that does not fit."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return from_dict(data, arguments[0], where)
    if origin in (typing.Union, types.UnionType):
        return _first_that_fits(data, arguments, where)
    if origin is tuple and isinstance(data, (list, tuple)):
        kinds = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(data):
            return tuple(from_dict(item, kind, f"{where}.{i}") for i, (item, kind) in enumerate(zip(data, kinds)))
    elif origin is dict and isinstance(data, dict):
        return {key: from_dict(item, arguments[1], f"{where}.{key}") for key, item in data.items()}
    elif dataclasses.is_dataclass(kind) and isinstance(data, dict):
        return _dataclass(data, kind, where)
    elif kind is Any or (origin is Literal and data in arguments):
        return data
    elif kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        return float(data)
    elif kind in (int, str, bool, type(None)) and type(data) is kind:
        return data
    raise UserError(f"{where}: {data!r} is not of type {_name(kind)}")


def _first_that_fits(data: Any, kinds: tuple, where: str) -> Any:
    for kind in kinds:
        try:
            return from_dict(data, kind, where)
        except UserError as error:
            # A dataclass that fits but for one of its fields: its own error says more than the union's.
            if isinstance(data, dict) and dataclasses.is_dataclass(kind):
                raise error
    raise UserError(f"{where}: {data!r} is not of type {' or '.join(map(_name, kinds))}")


def _dataclass(data: dict, kind: type, where: str) -> Any:
    cls = _class(data.get("class"), kind, where)
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    data = {k: v for k, v in data.items() if k in fields or RETIRED.get(k, data) != v}
    unknown = set(data) - set(fields) - {"class"}
    missing = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING} - set(data)
    if unknown or missing:
        what = "unknown" if unknown else "missing"
        raise UserError(f"{where}: {what} field(s) {', '.join(sorted(unknown or missing))} of {cls.__qualname__}")
    return cls(**{k: from_dict(v, hints[k], f"{where}.{k}") for k, v in data.items() if k != "class"})


def _class(path: Any, kind: type, where: str) -> type:
    """The dataclass that `path` ("module:Qualified.Name") names, if it is a `kind`."""
    if not isinstance(path, str) or path.count(":") != 1:
        raise UserError(f'{where}: no "class" of the form module:Class')
    module, qualname = path.split(":")
    try:
        found: Any = importlib.import_module(module)
        for name in qualname.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: can't find the class {path}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise UserError(f"{where}: {path} is not a {kind.__name__}")
    return found


def refuse_foreign(data: Any, origin: str) -> None:
    """Raise UserError where plain data from a file names a class that reading it would have to import: that runs code.

    raykd's own classes are read, and those that are imported already, as the user's own recipe has done.
    """
    if isinstance(data, dict):
        path = data.get("class", "raykd:")
        module = str(path).partition(":")[0]
        if module.split(".")[0] != "raykd" and module not in sys.modules:
            raise UserError(
                f"{origin} names the class {path}, whose module isn't raykd's: run its code only if you trust it"
            )
        for item in data.values():
            refuse_foreign(item, origin)
    elif isinstance(data, list):
        for item in data:
            refuse_foreign(item, origin)


def _name(kind: Any) -> str:
    return str(kind) if typing.get_origin(kind) else getattr(kind, "__name__", str(kind))


def essence(recipe: Recipe) -> dict:
    """The part of a recipe that determines its result, the method's own code included."""
    # Read back once: a recipe with epochs=12 is the same one as its copy from a file, which has 12.0.
    data = to_dict(from_dict(to_dict(dataclasses.replace(recipe, search=None))))
    for name in CIRCUMSTANCES:
        del data[name]
    for name in DATA_CIRCUMSTANCES:
        del data["data"][name]
    for name in TEACHERS_CIRCUMSTANCES:
        del data["teachers"][name]
    if data["teachers"]["cache"] in ("none", "float32"):  # float32 keeps the live teachers' own numbers
        data["teachers"].pop("cache")
    for name, plain in (("form", "recipe"), ("top_k", 0)):
        if data["teachers"][name] == plain:
            data["teachers"].pop(name)
    for source in data["teachers"]["sources"]:
        if "recipe" in source:
            source["recipe"] = fingerprint(from_dict(source["recipe"]))
    data["code"] = code_version(type(recipe.method))
    return data


def code_version(cls: type) -> str:
    """A hash of the source file that a class stands in."""
    return hashlib.sha256(inspect.getsource(inspect.getmodule(cls)).encode()).hexdigest()[:16]


def fingerprint(recipe: Recipe) -> str:
    """Twelve hexadecimal digits of a hash of the recipe's essence; the same in every process and on every machine."""
    return hashlib.sha256(json.dumps(essence(recipe), sort_keys=True).encode()).hexdigest()[:12]


def differences(a: dict, b: dict, where: str = "") -> list[str]:
    """Dotted names of the fields in which two plain dicts differ, with both values."""
    found = []
    for key in sorted(a.keys() | b.keys()):
        name = f"{where}{key}"
        left, right = a.get(key, "absent"), b.get(key, "absent")
        if isinstance(left, dict) and isinstance(right, dict):
            found += differences(left, right, f"{name}.")
        elif left != right:
            found.append(f"{name} ({left} / {right})")
    return found

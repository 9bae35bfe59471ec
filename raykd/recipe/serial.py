"""Recipes as plain JSON and back."""

import dataclasses
import functools
import pkgutil
import sys
import types
import typing
from collections.abc import Hashable, Iterator
from typing import Any, Literal, cast

from raykd import UserError
from raykd.recipe import Recipe

# Fields that earlier versions wrote, with the value that changed nothing.
RETIRED = {"together": False}


def to_dict(value: Any) -> Any:
    """Dataclasses as dicts with their class under "class", tuples as lists; the repr of what JSON can't represent."""
    if dataclasses.is_dataclass(value):
        fields = {field.name: to_dict(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"class": f"{module_of(type(value))}:{type(value).__qualname__}", **fields}
    if isinstance(value, dict):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_dict(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else repr(value)


def module_of(cls: type) -> str:
    """The module that a class is imported from: of a recipe's sections, the package that offers them."""
    return "raykd.recipe" if cls.__module__.startswith("raykd.recipe.sections.") else cls.__module__


def classes_in(value: Any) -> Iterator[type]:
    """The classes of a recipe, or of a part of one, and of its fields, recursively."""
    if dataclasses.is_dataclass(value):
        yield type(value)
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ():
        yield from classes_in(item)


def from_dict(data: Any, kind: Any = Recipe, where: str = "recipe") -> Any:
    """A value of type `kind` from the output of `to_dict`; raises UserError naming an invalid field."""
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
    elif isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(data, dict):
        return _dataclass(data, kind, where)
    elif kind is Any or (origin is Literal and data in arguments):
        return data
    elif kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        return _float(data, where)
    elif kind in (int, str, bool, type(None)) and type(data) is kind:
        return data
    raise UserError(f"{where}: {data!r:.80} is not of type {_name(kind)}")


def _float(number: int | float, where: str) -> float:
    try:
        return float(number)
    except OverflowError:
        raise UserError(f"{where}: a whole number of {int(number).bit_length()} bits is too large") from None


def _first_that_fits(data: Any, kinds: tuple[Any, ...], where: str) -> Any:
    for kind in kinds:
        try:
            return from_dict(data, kind, where)
        except UserError as error:
            # The error of a dataclass that fits except for one field says more than the union's.
            if isinstance(data, dict) and dataclasses.is_dataclass(kind):
                raise error
    raise UserError(f"{where}: {data!r:.80} is not of type {' or '.join(map(_name, kinds))}")


def _dataclass(data: dict[str, Any], kind: type, where: str) -> Any:
    cls = _class(data.get("class"), kind, where)
    hints = type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    data = {name: value for name, value in data.items() if name in fields or not is_retired(name, value)}
    unknown = set(data) - set(fields) - {"class"}
    missing = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING} - set(data)
    if unknown or missing:
        what = "unknown" if unknown else "missing"
        raise UserError(f"{where}: {what} field(s) {', '.join(sorted(unknown or missing))} of {cls.__qualname__}")
    return cls(**{k: from_dict(v, hints[k], f"{where}.{k}") for k, v in data.items() if k != "class"})


def type_hints(cls: type) -> dict[str, Any]:
    """The resolved annotations of a dataclass's fields; cached, as resolving is slow for hundreds of recipes."""
    return _resolved(cast(Hashable, cls))


@functools.cache
def _resolved(cls: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def is_retired(name: str, value: Any) -> bool:
    """Whether a field that its class lacks is one of an earlier version, with its neutral value."""
    return name in RETIRED and value == RETIRED[name]


def _class(path: Any, kind: type, where: str) -> type:
    """The dataclass that `path` ("module:Qualified.Name") names, if it is a `kind`."""
    if not isinstance(path, str) or path.count(":") != 1:
        raise UserError(f'{where}: no "class" of the form module:Class')
    try:
        cls = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: can't find the class {path}: {error}") from None
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise UserError(f"{where}: {path} is not a {kind.__name__}")
    return cls


def refuse_foreign(data: Any, origin: str) -> None:
    """Raise UserError if plain data from a file names a class whose module would have to be imported, which runs code.

    Classes of raykd, and of modules that are already imported, are allowed.
    """
    if isinstance(data, dict):
        path = data.get("class", "raykd:")
        module = str(path).partition(":")[0]
        if module.split(".")[0] != "raykd" and module not in sys.modules:
            raise UserError(
                f"{origin} names the class {path!r}, whose module isn't raykd's: if you trust it, use --trust-source"
            )
        for item in data.values():
            refuse_foreign(item, origin)
    elif isinstance(data, list):
        for item in data:
            refuse_foreign(item, origin)


def _name(kind: Any) -> str:
    """A type as a user writes it, without ranges and module names."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _name(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_name, arguments))
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if kind is Ellipsis or origin is None:
        return "..." if kind is Ellipsis else getattr(kind, "__name__", str(kind))
    return f"{_name(origin)}[{', '.join(map(_name, arguments))}]"

"""Checks every value of a recipe against the range that its field declares; used by all commands."""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ParamSpec, TypeVar

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen

from raykd import UserError
from raykd.fields import Rule
from raykd.recipe.serial import from_dict, type_hints

P = ParamSpec("P")
T = TypeVar("T")
PLAIN = (str, int, float, bool)
FLOAT32 = 2.0**-126, 2.0**128  # the least normal number, and the first that is too large


def validate(settings: Any, where: str = "") -> None:
    """Check a dataclass (a recipe, a section of one, a command's options) recursively.

    where: dotted name of the dataclass, the prefix of its fields' names.
    Raises UserError for the first invalid value, with its dotted name, the value, and what it must be.
    """
    for name, value, kind in _fields(settings):
        _check(value, kind, ".".join(filter(None, (where, name))))


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose arguments are checked by their annotations, as the fields of a recipe are.

    Objects of an annotated class, such as a `Recipe` or a `Path`, are not looked into.
    A call raises UserError for the first one that is not of its type, or that lies outside its range.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            parameter = signature.parameters[name]
            if parameter.kind is not parameter.VAR_POSITIONAL and parameter.annotation not in (Any, parameter.empty):
                check_argument(value, parameter.annotation, name)
        return function(*args, **kwargs)

    return call


def check_argument(value: Any, kind: Any, name: str) -> None:
    """Check one argument, as `checked` does; `*arguments` are left to the function itself."""
    if not _is_object(value, kind):
        from_dict(value, kind, name)
        _check(value, kind, name)


def _is_object(value: Any, kind: Any) -> bool:
    """Whether a value is an instance of a class, among those of an annotation, that no JSON value has."""
    classes = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return any(isinstance(each, type) and isinstance(value, each) and each not in PLAIN for each in classes)


def _fields(settings: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name on the command line (empty for a recipe among a command's options), value, and annotation."""
    hints = type_hints(type(settings))
    for field in dataclasses.fields(settings):
        kind, value = hints[field.name], getattr(settings, field.name)
        renamed = [part.name for part in typing.get_args(kind)[1:] if getattr(part, "name", None) is not None]
        yield (renamed or [field.name])[0], value, kind


def _check(value: Any, kind: Any, where: str) -> None:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        _check(value, arguments[0], where)
        _expect(value, arguments[1:], where)
    elif kind is not Any and dataclasses.is_dataclass(value):
        validate(value, where)
    elif origin in (typing.Union, types.UnionType):
        _check(value, next((each for each in arguments if _fits(value, each)), Any), where)
    elif isinstance(value, tuple):
        kinds = _kinds(arguments, len(value)) if origin is tuple else (Any,) * len(value)
        for i, (item, each) in enumerate(zip(value, kinds, strict=True)):
            _check(item, each, f"{where}.{i}")
    elif isinstance(value, str) and "\0" in value:
        raise UserError(f"{where}: {value!r} must not contain a NUL character")
    elif isinstance(value, float) and value != 0 and not FLOAT32[0] <= abs(value) < FLOAT32[1]:
        raise UserError(f"{where}: {value} must be a number that float32 can represent")


def _kinds(arguments: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    return (arguments[0],) * count if arguments[-1:] == (...,) else arguments


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value belongs to this member of a union; their ranges are checked afterwards."""
    origin = typing.get_origin(kind)
    plain = typing.get_args(kind)[0] if origin is Annotated else origin or kind
    return isinstance(plain, type) and isinstance(value, plain)


def _expect(value: Any, limits: tuple[Any, ...], where: str) -> None:
    """Raise UserError at the first limit of a field that its value breaks."""
    for limit in limits:
        parts = [part for part in (limit if isinstance(limit, GroupedMetadata) else (limit,)) if type(part) in LIMITS]
        if not all(LIMITS[type(part)][0](value, part) for part in parts):
            raise UserError(f"{where}: {value!r} must be {_words(parts)}")


def _words(parts: list[Any]) -> str:
    match parts:
        case [Ge(ge=low), Le(le=high)]:
            return f"from {low:,} to {high:,}"
    return " and ".join(LIMITS[type(part)][1](part) for part in parts)


def _length(limit: MinLen | MaxLen) -> str:
    if isinstance(limit, MaxLen):
        return f"at most {limit.max_length:,} long"
    return "given" if limit.min_length == 1 else f"at least {limit.min_length:,} long"


# What a limit demands of a value, and its words after "must be".
LIMITS: dict[type, tuple[Callable[[Any, Any], bool], Callable[[Any], str]]] = {
    Ge: (lambda value, limit: value >= limit.ge, lambda limit: f"at least {limit.ge:,}"),
    Gt: (lambda value, limit: value > limit.gt, lambda limit: f"above {limit.gt:,}"),
    Le: (lambda value, limit: value <= limit.le, lambda limit: f"at most {limit.le:,}"),
    Lt: (lambda value, limit: value < limit.lt, lambda limit: f"below {limit.lt:,}"),
    MinLen: (lambda value, limit: len(value) >= limit.min_length, _length),
    MaxLen: (lambda value, limit: len(value) <= limit.max_length, _length),
    Rule: (lambda value, rule: rule.holds(value), lambda rule: rule.words),
}

"""The types of a study's values, which dataclasses let pass: a study is Python that somebody has written."""

import dataclasses
import types
import typing
from typing import Annotated, Any

from raykd import UserError
from raykd.recipe.serial import type_hints
from raykd.recipe.study import Column, Quotes, Row, Study

OWN = (Study, Row, Column, Quotes)  # whose fields are looked at as well; a recipe's are checked where it is loaded


def expect_types(value: Any, kind: Any, where: str) -> None:
    """Raise UserError for the first value of a study that is not of its field's type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        expect_types(value, arguments[0], where)
    elif origin in (typing.Union, types.UnionType):
        if value is not None:
            expect_types(value, arguments[0], where)
    elif origin is tuple:
        _expect(value, (tuple, list), "a tuple", where)
        for i, item in enumerate(value):
            expect_types(item, arguments[0], f"{where}.{i}")
    else:
        plain = origin or kind
        _expect(value, plain, f"of type {plain.__name__}", where)
        for field in dataclasses.fields(value) if kind in OWN else ():
            expect_types(getattr(value, field.name), type_hints(kind)[field.name], f"{where}.{field.name}")


def _expect(value: Any, kinds: Any, words: str, where: str) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise UserError(f"{where}: must be {words}, not {value!r:.80}")

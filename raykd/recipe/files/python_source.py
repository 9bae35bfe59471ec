"""A recipe as Python source."""

import dataclasses
from typing import Any

from raykd.recipe import Recipe
from raykd.recipe.serial import module_of


def to_source(recipe: Recipe, docstring: str) -> str:
    """The source of a file that defines an equal recipe without its search; fields at their defaults are omitted."""
    names: dict[str, str] = {}
    body = _expression(dataclasses.replace(recipe, search=None), names, 0)
    quoted = docstring.replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{quoted}"""\n\n{_imports(names)}\n\nrecipe = {body}\n'


def _imports(names: dict[str, str]) -> str:
    lines = [f"import {module}" for name, module in names.items() if name == module]
    for module in set(names.values()):
        imported = sorted(name for name, home in names.items() if home == module != name)
        lines += [f"from {module} import {', '.join(imported)}"] if imported else []
    return "\n".join(sorted(lines))


def _expression(value: Any, names: dict[str, str], depth: int) -> str:
    if dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if not _is_default(value, f)}
        parts = [f"{name}={_expression(item, names, depth + 1)}" for name, item in fields.items()]
        return _call(_name(type(value), names) + "(", parts, ")", depth)
    if isinstance(value, tuple):
        parts = [_expression(item, names, depth + 1) for item in value]
        return _call("(", parts, ",)" if len(parts) == 1 else ")", depth)
    return repr(value)


def _call(opening: str, parts: list[str], closing: str, depth: int) -> str:
    """A call on one line if that is short enough, else a line for each argument."""
    line = opening + ", ".join(parts) + closing
    if len(line) + 4 * depth < 100 and "\n" not in line:
        return line
    indent = "    " * (depth + 1)
    return opening + "\n" + "".join(f"{indent}{part},\n" for part in parts) + "    " * depth + ")"


def _is_default(value: Any, field: dataclasses.Field[Any]) -> bool:
    """Whether a field has its default, also in its class: an instance of a subclass may compare equal."""
    here = getattr(value, field.name)
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    return default is not dataclasses.MISSING and type(here) is type(default) and here == default


def _name(cls: type, names: dict[str, str]) -> str:
    """The name of a class in the file; if two modules have classes of the same name, with its module."""
    top = cls.__qualname__.split(".")[0]
    module = module_of(cls)
    if names.setdefault(top, module) == module:
        return cls.__qualname__
    names[module] = module
    return f"{module}.{cls.__qualname__}"

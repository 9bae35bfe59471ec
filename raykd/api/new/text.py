"""The Python source of a new recipe, with the settings that are usually changed at its top."""

import dataclasses
import json
import re
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from raykd import HOMES
from raykd.api.new.choices import Choices, is_run

TEMPLATE = Path(__file__).parent / "recipe.py.j2"


def recipe_text(to: Path, choices: Choices) -> str:
    """The file's text."""
    import jinja2

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    own = (absolute, docstring, expression, imports, numbers, quoted)
    environment.filters |= {each.__name__: each for each in own} | {"repr": repr, "shell": shlex.quote}
    options, rate = choices.options, choices.learning_rate
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        choices=choices,
        options=options,
        method=choices.method,
        prepared=choices.prepared,
        classes=len(choices.prepared.classes),
        data=Path(options.data).name or options.data,
        file=str(to),
        stem=to.stem,
        trains_teacher=bool(options.teacher) and not is_run(options.teacher),
        seeds=tuple(range(choices.teachers)),
        rate=f"{rate:g}",
        half_rate=f"{rate * 0.5**0.5:.1g}",
        has_gpu=has_gpu(),
    )


def imports(settings: str) -> str:
    """The import of raykd's names that occur in Python source, outside of its comments."""
    code = re.sub(r"#.*", "", settings)
    names = sorted({name for name in re.findall(r"\b[A-Z]\w+(?=\(|\.Config)", code) if name in HOMES})
    listed = textwrap.fill(", ".join(names), 110, initial_indent="    ", subsequent_indent="    ")
    return f"from raykd import (\n{listed},\n)"


def docstring(text: str) -> str:
    """Text escaped for a docstring: a folder's name can contain quotes, backslashes, and bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\\", "\\\\").replace('"""', '""\\"')


def expression(source: Any) -> str:
    """The expression that creates a source, without fields at their defaults, and with an absolute path."""
    fields = [field for field in dataclasses.fields(source) if getattr(source, field.name) != field.default]
    changed = {field.name: getattr(source, field.name) for field in fields}
    if "path" in changed:
        changed["path"] = str(Path(changed["path"]).expanduser().absolute())
    return f"{type(source).__name__}({', '.join(f'{name}={quoted(value)}' for name, value in changed.items())})"


def absolute(path: str) -> str:
    """A path from the root of the file system."""
    return str(Path(path).resolve())


def numbers(values: Sequence[float]) -> str:
    """A tuple of numbers with four decimals."""
    return f"({', '.join(f'{value:.4f}' for value in values)})"


def quoted(value: Any) -> str:
    """A value as Python source."""
    if not isinstance(value, str):
        return repr(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else repr(value)


def has_gpu() -> bool:
    """Whether a GPU can be used here."""
    import torch

    return torch.cuda.is_available()

"""The code of the user's own classes, so that what was made with it is made again when it changes."""

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from raykd.output import masked_code

PYTHON = [Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
INSTALLED = {"site-packages", "dist-packages", ".venv"}

Definition = tuple[str, str]
"""A module and a name that it defines; "": all of the module."""


def is_installed(file: Path) -> bool:
    """Whether a module's file belongs to Python or to an installed package, which every worker has."""
    return bool(INSTALLED & set(file.parts)) or any(file.is_relative_to(installed) for installed in PYTHON)


def code_of(*classes: type) -> str:
    """A hash of the definitions of the user's classes and of all that these name, also in the user's other modules.

    Comments, formatting and other definitions of the modules don't count. Empty if all classes are raykd's.
    """
    left = [(cls.__module__, cls.__qualname__.partition(".")[0]) for cls in classes if is_own(cls)]
    texts: dict[Definition, str] = {}
    while left:
        definition = left.pop()
        if definition not in texts:
            statements = list(_statements(*definition))
            texts[definition] = "\n".join(map(ast.unparse, statements))
            left += [named for statement in statements for named in _named(definition[0], statement)]
    return hashlib.sha256(repr(sorted(texts.items())).encode()).hexdigest()[:8] if texts else ""


def is_own(cls: type) -> bool:
    """Whether a class is the user's, or another package's, and not raykd's."""
    return cls.__module__.split(".")[0] != "raykd"


def _statements(module: str, name: str) -> Iterator[ast.stmt]:
    """The statements of a module that define a name."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file and file.endswith(".py"):
        text = masked_code(importlib.util.decode_source(Path(file).read_bytes()))  # as in a run's directory
        for statement in ast.parse(text, file).body:
            if not name or name in _bound(statement):
                yield statement


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module defines there."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    inside = list(ast.walk(statement))
    names = {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {node.name for node in inside if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    aliases = [alias for node in inside if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    return names | {(alias.asname or alias.name).partition(".")[0] for alias in aliases}


def _named(module: str, statement: ast.stmt) -> Iterator[Definition]:
    """What a statement of a module refers to: names of the same module, and of the user's modules that it imports."""
    package = getattr(sys.modules[module], "__package__", None) or ""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield module, node.id
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue  # what a function imports may not be loaded yet
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if _is_users(alias.name))
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                if _is_users(f"{origin}.{alias.name}"):
                    yield f"{origin}.{alias.name}", ""
                elif _is_users(origin):
                    yield origin, "" if alias.name == "*" else alias.name


def _is_users(module: str) -> bool:
    """Whether a module is loaded from one of the user's own files."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and module.split(".")[0] != "raykd" and not is_installed(Path(file).resolve())

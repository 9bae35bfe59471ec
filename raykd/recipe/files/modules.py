"""The module of a recipe's file: which file an argument means, and its import."""

import importlib
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from raykd import UserError
from raykd.recipe.files import shipped
from raykd.recipe.files.imported import forget_edited

T = TypeVar("T")

_IMPORTED: dict[Path, bytes] = {}  # the text of each file that was imported here, as it was then


@dataclass(frozen=True)
class Imported(Generic[T]):
    """What a Python file defines, and the modules that were imported with it."""

    value: T
    path: Path
    docstring: str
    modules: set[str]  # its own among them


def import_named(argument: str | Path, name: Literal["recipe", "study"], kind: type[T]) -> Imported[T]:
    """The module-level `recipe` or `study` of a file, given by its path, or by its name if it ships with raykd.

    Raises UserError if there is no such file, if it fails to import, and if it does not define the name as a `kind`.
    """
    path, before = _find(argument, name), set(sys.modules)
    module = _import(path)
    value = getattr(module, name, None)
    if not isinstance(value, kind):
        raise UserError(f"{path} has no module-level `{name} = {kind.__name__}(...)`")
    return Imported(value, path, module.__doc__ or "", set(sys.modules) - before | {module.__name__})


def _find(name: str | Path, kind: str) -> Path:
    """The file of an argument: a path if it ends in .py, else the name of something that ships with raykd."""
    path = Path(name)
    file = path.resolve() if path.suffix == ".py" else shipped.path_of(str(name))
    if file is not None and file.is_file():
        return file
    close = shipped.close_to(str(name))
    hint = f"; did you mean {close}, which ships with raykd?" if close else ""
    if path.suffix == ".py":
        raise UserError(f"no {kind} at {file}: give the path of a Python file with a module-level `{kind}`{hint}")
    own = f"; the file is {name}.py" if Path(f"{name}.py").is_file() else hint
    listing = {"recipe": "recipes", "study": "studies"}[kind]
    raise UserError(f"no {kind} {str(name)!r} among those that ship with raykd (`raykd list {listing}`){own}")


def _import(path: Path) -> Any:
    """The module of a file, imported; the folders that it may import from are on sys.path from then on."""
    if shipped.module_of(path):
        return importlib.import_module(shipped.module_of(path))
    root, module_name = _root(path)
    for folder in map(str, (*_sources_beside(path), Path.cwd().resolve(), path.parent, root)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    forget_edited()
    importlib.invalidate_caches()
    return _executed(path, module_name)


def roots_of(path: Path) -> list[Path]:
    """The folders below which the user's modules of a recipe's file may be, in the order of Python's search."""
    here = Path.cwd().resolve()
    return [here] if shipped.module_of(path) else [_root(path)[0], path.parent, here, *_sources_beside(path)]


def import_root(module: str) -> Path | None:
    """The folder that a module was found in by its dotted name; None for one without a file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        return None
    depth = module.count(".") + (Path(file).stem == "__init__")
    return Path(file).resolve().parents[depth]


def _root(path: Path) -> tuple[Path, str]:
    """The folder that the recipe is imported from, and its module name; the current folder if the file is below it."""
    here = Path.cwd().resolve()
    inside = path.is_relative_to(here)
    parts = path.relative_to(here).with_suffix("").parts if inside else ()
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        return here, ".".join(parts)
    if not path.stem.isidentifier():
        raise UserError(f"{path}: a recipe's file name must be a Python name, like my_recipe.py")
    return path.parent, path.stem


def _sources_beside(path: Path) -> list[Path]:
    """Folders that the user's modules are imported from of a recipe that a search has left, its best one."""
    if not (path.parent / "search.json").is_file():
        return []
    source = path.parent / "source"
    return sorted({source, *(file.parent for file in source.rglob("*.py"))}, reverse=True)


def _executed(path: Path, name: str) -> Any:
    """The module of a file; it is run again if its text has changed since, as a file that a notebook's user edits."""
    try:
        loaded, text = sys.modules.get(name), path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
    here = loaded is not None and Path(getattr(loaded, "__file__", "") or "").resolve() == path
    if here and _IMPORTED.get(path, text) == text:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file always has them
    module = importlib.util.module_from_spec(spec)
    sys.modules[name], _IMPORTED[path] = module, text
    try:
        exec(compile(text, path, "exec"), module.__dict__)  # not Python's cached bytecode, whose age counts in seconds
    except (Exception, SystemExit) as error:  # the user's code: whatever it raises is the user's to see, in one line
        del sys.modules[name]
        line = _line_of(error, path)
        raise UserError(f"{path}{line} fails to import: {type(error).__name__}: {error}") from error
    return module


def _line_of(error: BaseException, path: Path) -> str:
    trace, line = error.__traceback__, ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f", line {trace.tb_lineno},"
        trace = trace.tb_next
    return line

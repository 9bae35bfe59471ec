"""Recipes from files, and overrides from the command line. A recipe is code: loading one runs it."""

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from raykd import UserError
from raykd.models.config import Network
from raykd.models.libraries import trusted
from raykd.recipe import Recipe, shipped
from raykd.recipe.changes import change
from raykd.recipe.serial import from_dict, to_dict
from raykd.recipe.sources import own_files, read_source
from raykd.recipe.study import Cell, Study, cells
from raykd.recipe.study_types import expect_types
from raykd.recipe.validate import validate

_TEXTS: dict[Path, bytes] = {}  # of the files that were imported here, as they were then


@dataclass(frozen=True)
class Loaded:
    """A recipe with the source of its file and of the user's modules that it imports."""

    recipe: Recipe
    path: Path
    sources: dict[str, str]  # path below the recipe's root → text
    docstring: str


@dataclass(frozen=True)
class LoadedStudy:
    """A study with the source of its file and of the user's modules that it imports."""

    study: Study
    cells: list[Cell]  # of every row in every column, whatever the seed
    path: Path
    sources: dict[str, str]  # path below the study's root → text
    docstring: str

    def of(self, recipe: Recipe) -> Loaded:
        """One of its recipes, as if loaded from the study's file."""
        return Loaded(recipe, self.path, self.sources, self.docstring)


def load(recipe: str | Path) -> Loaded:
    """The `recipe` of a Python file, or a recipe that ships with raykd, by name: digits/kd. Raises UserError."""
    path, before = _file(recipe, "recipe"), set(sys.modules)
    module = _run(path)
    loaded = _named(module, "recipe", Recipe, path)
    check_types(loaded, path)
    modules = set(sys.modules) - before | {module.__name__}
    return Loaded(loaded, path, _sources(modules, [loaded], _roots(path)), module.__doc__ or "")


def load_object(recipe: Recipe, name: str) -> Loaded:
    """A recipe that was created in Python, in the form of `load`; `name` replaces the file's.

    Raises UserError for classes defined in a notebook or in the main script: workers can't import them.
    """
    modules = {cls.__module__: cls for cls in _classes(recipe)}
    if "__main__" in modules:
        raise UserError(
            f"{modules['__main__'].__qualname__} is defined in a notebook's cell or in the script that runs, where no "
            "worker can import it: put it into a module beside it (in a notebook: %%writefile mine.py) and import it"
        )
    check_types(recipe, "the recipe")
    roots = [Path.cwd().resolve(), *(root for name in modules if (root := _import_root(name)) is not None)]
    return Loaded(recipe, Path.cwd().resolve() / f"{name}.py", _sources(set(modules), [recipe], roots), "")


def load_study(study: str | Path) -> LoadedStudy:
    """The `study` of a Python file; raises UserError if there is none, or if its table is invalid."""
    path, before = _file(study, "study"), set(sys.modules)
    module = _run(path)
    named = _named(module, "study", Study, path)
    try:
        expect_types(named, Study, "study")
        all_cells = cells(named)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    for cell in all_cells:
        check_types(cell.recipe, f"{path}, row {cell.row.name}, column {cell.column.name}")
    modules = set(sys.modules) - before | {module.__name__}
    sources = _sources(modules, [cell.recipe for cell in all_cells], _roots(path))
    return LoadedStudy(named, all_cells, path, sources, module.__doc__ or "")


def _file(name: str | Path, kind: str) -> Path:
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


def _run(path: Path) -> Any:
    """The module of a file, imported; the folders that it may import from are on sys.path from then on."""
    if shipped.module_of(path):
        return importlib.import_module(shipped.module_of(path))
    root, module_name = _root(path)
    for folder in map(str, (*_sources_beside(path), Path.cwd().resolve(), path.parent, root)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    importlib.invalidate_caches()
    return _import(path, module_name)


def _roots(path: Path) -> list[Path]:
    """The folders below which the user's modules of a recipe's file may be."""
    here = Path.cwd().resolve()
    return [here] if shipped.module_of(path) else [_root(path)[0], here, *_sources_beside(path)]


def _import_root(module: str) -> Path | None:
    """The folder that a module was found in by its dotted name; None for one without a file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        return None
    depth = module.count(".") + (Path(file).stem == "__init__")
    return Path(file).resolve().parents[depth]


def _classes(value: Any) -> Iterator[type]:
    """The classes of a recipe and of its fields, recursively."""
    if dataclasses.is_dataclass(value):
        yield type(value)
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ():
        yield from _classes(item)


def _named(module: Any, name: str, kind: type, path: Path) -> Any:
    value = getattr(module, name, None)
    if not isinstance(value, kind):
        raise UserError(f"{path} has no module-level `{name} = {kind.__name__}(...)`")
    return value


def _sources(modules: set[str], recipes: Sequence[Recipe], roots: Sequence[Path]) -> dict[str, str]:
    """The source of the user's files below some folders that modules and recipes import, by path.

    From then on, networks may be built from them.
    """
    networks = {network.name: network.module for network in networks_of(recipes) if network.module}
    trusted.allow(networks.values())
    for name in networks:
        trusted.callable_of(name)
    own = own_files({*modules, *networks.values()}, roots)
    trusted.allow(own)
    return {str(below): read_source(file) for below, file in own.values()}


def networks_of(section: Any) -> list[Network]:
    """Every network of a recipe, or of a part of one."""
    if isinstance(section, Network):
        return [section]
    if dataclasses.is_dataclass(section):
        section = [getattr(section, field.name) for field in dataclasses.fields(section)]
    return [network for part in section for network in networks_of(part)] if isinstance(section, (tuple, list)) else []


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


def _import(path: Path, name: str) -> Any:
    """The module of a file; it is run again if its text has changed since, as a file that a notebook's user edits."""
    try:
        loaded, text = sys.modules.get(name), path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
    here = loaded is not None and Path(getattr(loaded, "__file__", "") or "").resolve() == path
    if here and _TEXTS.get(path, text) == text:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file always has them
    module = importlib.util.module_from_spec(spec)
    sys.modules[name], _TEXTS[path] = module, text
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


def check_types(recipe: Recipe, where: Path | str) -> None:
    """Raise UserError if a field's value is not of its type, which dataclasses don't check."""
    try:
        from_dict(to_dict(dataclasses.replace(recipe, search=None)))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except RecursionError:
        raise UserError(f"{where}: a recipe is among its own teachers") from None


def parse(kind: Any, default: Any, arguments: Sequence[str], program: str, description: str) -> Any:
    """Parse arguments by tyro and check the ranges of their values; `--help` prints and exits with status 0.

    Raises UserError, in one line, for unknown options and invalid values.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parsed = tyro.cli(kind, default=default, args=list(arguments), prog=program, description=description)
    except SystemExit as exit:
        if not exit.code:
            raise
        raise UserError(_one_line(complaint.getvalue())) from None
    validate(parsed)
    return parsed


def _one_line(box: str) -> str:
    text = " ".join(line.strip("│╭╮╰╯─ \t") for line in box.splitlines())
    text = re.sub(r"[─╭╮╰╯│]+", " ", text)
    text = re.sub(r"^(Value error|Missing argument|Unrecognized options) +(?=[A-Z])", "", text.strip())
    text = re.sub(r"For full helptext,? \w+ .*", "", text)
    return re.sub(r"\s+", " ", text).strip()


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """A recipe with fields changed by the rules of the command line: {"method.alpha": 0.3}.

    A dataclass replaces a whole section ({"method": DKD.Config()}), before other fields are set. A number at the end of
    a name is the index of an item: {"method.weights.1": 0.5}.
    """
    arguments = []
    for name, value in values.items():
        if dataclasses.is_dataclass(value) or name.rpartition(".")[2].isdigit():
            recipe = change(recipe, {name: value})
        elif isinstance(value, bool):
            section, dot, field = name.rpartition(".")
            arguments.append(f"--{section}{dot}{'' if value else 'no-'}{field}")
        else:
            many = isinstance(value, (tuple, list))
            arguments += [f"--{name}", *map(str, value if many else [value])]
    changed: Recipe = parse(Recipe, recipe, arguments, "override", "")
    return changed

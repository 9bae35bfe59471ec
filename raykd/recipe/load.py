"""Recipes from files, and overrides from the command line. A recipe is code: loading one runs it."""

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import re
import sys
import sysconfig
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from raykd import UserError
from raykd.models import trusted
from raykd.models.config import Network
from raykd.recipe import Recipe
from raykd.recipe.changes import change
from raykd.recipe.serial import from_dict, to_dict
from raykd.recipe.study import Cell, Study, cells
from raykd.recipe.validate import validate

PYTHON = [Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
INSTALLED = {"site-packages", "dist-packages", ".venv"}


@dataclass(frozen=True)
class Loaded:
    """A recipe with the source of its file and of the user's own modules that it imports."""

    recipe: Recipe
    path: Path
    sources: dict[str, str]  # path below the recipe's root → text
    docstring: str


@dataclass(frozen=True)
class LoadedStudy:
    """A study with the source of its file and of the user's own modules that it imports."""

    study: Study
    cells: list[Cell]  # of every row in every column, whatever the seed
    path: Path
    sources: dict[str, str]  # path below the study's root → text
    docstring: str

    def of(self, recipe: Recipe) -> Loaded:
        """One of its recipes, as if it had been loaded from the study's file."""
        return Loaded(recipe, self.path, self.sources, self.docstring)


def load(path: str | Path) -> Loaded:
    """The `recipe` of a Python file; raises UserError where there is none."""
    path, before = _file(path, "recipe"), set(sys.modules)
    module = _run(path)
    recipe = _named(module, "recipe", Recipe, path)
    check_types(recipe, path)
    return Loaded(recipe, path, _sources(path, module, [recipe], before), module.__doc__ or "")


def load_study(path: str | Path) -> LoadedStudy:
    """The `study` of a Python file; raises UserError where there is none, or one whose table can't be."""
    path, before = _file(path, "study"), set(sys.modules)
    module = _run(path)
    study = _named(module, "study", Study, path)
    try:
        found = cells(study)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    for cell in found:
        check_types(cell.recipe, f"{path}, row {cell.row.name}, column {cell.column.name}")
    sources = _sources(path, module, [cell.recipe for cell in found], before)
    return LoadedStudy(study, found, path, sources, module.__doc__ or "")


def _file(path: str | Path, kind: str) -> Path:
    path = Path(path).resolve()
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"no {kind} at {path}: give the path of a Python file with a module-level `{kind}`")
    return path


def _run(path: Path) -> Any:
    """The module of a file, imported; the folders that it may import from are on sys.path from then on."""
    root, module_name = _root(path)
    for folder in (str(Path.cwd().resolve()), str(path.parent), str(root)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    importlib.invalidate_caches()
    return _import(path, module_name)


def _named(module: Any, name: str, kind: type, path: Path) -> Any:
    found = getattr(module, name, None)
    if not isinstance(found, kind):
        raise UserError(f"{path} has no module-level `{name} = {kind.__name__}(...)`")
    return found


def _sources(path: Path, module: Any, recipes: Sequence[Recipe], before: set[str]) -> dict[str, str]:
    """The user's own modules that a file's recipes are made of; networks may be built from them from then on.

    before: the modules that had been imported before the file.
    """
    networks = {network.name: network.module for network in networks_of(recipes) if network.module}
    trusted.allow(networks.values())
    for name in networks:
        trusted.callable_of(name)
    roots = (_root(path)[0], Path.cwd().resolve())
    own = _own_files(roots, set(sys.modules) - before | {module.__name__, *networks.values()})
    trusted.allow(own)
    return {str(below): importlib.util.decode_source(file.read_bytes()) for below, file in own.values()}


def networks_of(section: Any) -> list[Network]:
    """Every network that a recipe, or a part of one, names."""
    if isinstance(section, Network):
        return [section]
    if dataclasses.is_dataclass(section):
        section = [getattr(section, field.name) for field in dataclasses.fields(section)]
    return [network for part in section for network in networks_of(part)] if isinstance(section, (tuple, list)) else []


def _root(path: Path) -> tuple[Path, str]:
    """The folder that the recipe is imported from and its module name: the current folder's where it lies below."""
    here = Path.cwd().resolve()
    inside = path.is_relative_to(here)
    parts = path.relative_to(here).with_suffix("").parts if inside else ()
    if len(parts) > 1 and all(part.isidentifier() for part in parts):
        return here, ".".join(parts)
    if not path.stem.isidentifier():
        raise UserError(f"{path}: a recipe's file name must be a Python name, like my_recipe.py")
    return path.parent, path.stem


def _import(path: Path, name: str) -> Any:
    loaded = sys.modules.get(name)
    if loaded is not None and Path(getattr(loaded, "__file__", "") or "").resolve() == path:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
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


def _own_files(roots: Sequence[Path], names: set[str]) -> dict[str, tuple[Path, Path]]:
    """Of the user's own modules among some, those below the recipe's root or the current folder: path there, file."""
    found = {}
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if not file or not file.endswith(".py") or name.split(".")[0] == "raykd":
            continue
        if not Path(file).is_absolute():  # torch has modules that say so of no file, as "_classes.py"
            continue
        places = [place for place in (Path(file), Path(file).resolve()) if not _installed(place)]
        homes = [place.relative_to(root) for place in places for root in roots if place.is_relative_to(root)]
        if len(places) == 2 and homes:
            found[name] = homes[0], Path(file)
    return found


def _installed(file: Path) -> bool:
    """Whether a module's file belongs to Python or to an installed package: every worker has those of its own."""
    return bool(INSTALLED & set(file.parts)) or any(file.is_relative_to(place) for place in PYTHON)


def materialize(sources: Mapping[str, str], folder: Path) -> None:
    """Write a recipe's sources below `folder` and make them importable there, as `load` did where they came from.

    Networks may be built from them: whoever hands out sources trusts them.
    """
    for name, text in sources.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"the source {name!r} of a recipe lies outside its folder")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source_bytes(text))
        parts = Path(name).with_suffix("").parts
        trusted.allow(".".join(parts[i:]) for i in range(len(parts)))
    for place in sorted({str((folder / name).parent) for name in sources} | {str(folder)}):
        if place not in sys.path:
            sys.path.insert(0, place)
    importlib.invalidate_caches()


def source_bytes(text: str) -> bytes:
    """A module's text in the encoding that it says it is in."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(text.encode()).readline)
    return text.encode(encoding)


def check_types(recipe: Recipe, where: Path | str) -> None:
    """Raise UserError where a field's value is not of its type, which dataclasses themselves let pass."""
    try:
        from_dict(to_dict(dataclasses.replace(recipe, search=None)))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except RecursionError:
        raise UserError(f"{where}: its teachers form a circle: a recipe is among the teachers of its own") from None


def parse(kind: Any, default: Any, arguments: Sequence[str], program: str, description: str) -> Any:
    """tyro's parse, its values checked against their ranges; `--help` prints and exits with status 0.

    Raises UserError, in one line, for words that are no fields and for values that these can't have.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            found = tyro.cli(kind, default=default, args=list(arguments), prog=program, description=description)
    except SystemExit as exit:
        if not exit.code:
            raise
        raise UserError(_one_line(complaint.getvalue())) from None
    validate(found)
    return found


def _one_line(box: str) -> str:
    text = " ".join(line.strip("│╭╮╰╯─ \t") for line in box.splitlines())
    text = re.sub(r"[─╭╮╰╯│]+", " ", text)
    text = re.sub(r"For full helptext,? \w+ .*", "", text)
    return re.sub(r"\s+", " ", text).strip()


def override(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """A recipe with dotted fields changed, by the same rules as the command line's: {"method.alpha": 0.3}.

    A dataclass replaces a whole section ({"method": DKD.Config()}), before the other values count. A number at the end
    of a name means one item of several values: {"method.weights.1": 0.5}.
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
    return parse(Recipe, recipe, arguments, "override", "")

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
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from raykd import UserError
from raykd.models import trusted
from raykd.models.config import Network
from raykd.recipe import Recipe
from raykd.recipe.serial import from_dict, to_dict
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


def load(path: str | Path) -> Loaded:
    """The `recipe` of a Python file; raises UserError where there is none."""
    path = Path(path).resolve()
    if not path.is_file() or path.suffix != ".py":
        raise UserError(f"no recipe at {path}: give the path of a Python file with a module-level `recipe`")
    root, module_name = _root(path)
    before = set(sys.modules)
    roots = (root, Path.cwd().resolve())
    for folder in (str(roots[1]), str(path.parent), str(root)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    importlib.invalidate_caches()
    module = _import(path, module_name)
    recipe = getattr(module, "recipe", None)
    if not isinstance(recipe, Recipe):
        raise UserError(f"{path} has no module-level `recipe = Recipe(...)`")
    check_types(recipe, path)
    networks = {network.name: network.module for network in networks_of(recipe) if network.module}
    trusted.allow(networks.values())
    for name in networks:
        trusted.callable_of(name)
    own = _own_files(roots, set(sys.modules) - before | {module_name, *networks.values()})
    trusted.allow(own)
    sources = {str(below): importlib.util.decode_source(file.read_bytes()) for below, file in own.values()}
    return Loaded(recipe, path, sources, module.__doc__ or "")


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


def check_types(recipe: Recipe, path: Path) -> None:
    """Raise UserError where a field's value is not of its type, which dataclasses themselves let pass."""
    plain = to_dict(recipe)
    plain["search"] = None
    try:
        from_dict(plain)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


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
        path = name.replace("-", "_").split(".")
        if dataclasses.is_dataclass(value) or path[-1].isdigit():
            recipe = _put(recipe, path, value, name)
        elif isinstance(value, bool):
            section, dot, field = name.rpartition(".")
            arguments.append(f"--{section}{dot}{'' if value else 'no-'}{field}")
        else:
            many = isinstance(value, (tuple, list))
            arguments += [f"--{name}", *map(str, value if many else [value])]
    return parse(Recipe, recipe, arguments, "override", "")


def _put(section: Any, path: list[str], value: Any, name: str) -> Any:
    """A copy of a section in which what stands at the path is replaced by a value of the same kind."""
    if isinstance(section, tuple) and path[0].isdigit() and int(path[0]) < len(section):
        at = int(path[0])
        new = value if len(path) == 1 else _put(section[at], path[1:], value, name)
        return (*section[:at], new, *section[at + 1 :])
    if not dataclasses.is_dataclass(section) or path[0] not in (field.name for field in dataclasses.fields(section)):
        raise UserError(f"there is no {name} to put {type(value).__qualname__} in")
    if len(path) > 1:
        new = _put(getattr(section, path[0]), path[1:], value, name)
        if len(path) == 2 and isinstance(new, tuple):
            new = from_dict(to_dict(new), _kind(section, path[0]), name)
        return dataclasses.replace(section, **{path[0]: new})
    from_dict(to_dict(value), _kind(section, path[0]), name)
    return dataclasses.replace(section, **{path[0]: value})


def _kind(section: Any, field: str) -> Any:
    return typing.get_type_hints(type(section), include_extras=True)[field]

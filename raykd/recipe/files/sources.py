"""The source of the user's modules: collected with a recipe, and written to disk where it runs."""

import ast
import dataclasses
import importlib
import importlib.util
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from raykd import UserError
from raykd.data.storage.own_code import is_installed
from raykd.models.config import Network
from raykd.models.libraries import trusted
from raykd.recipe import Recipe
from raykd.recipe.files import imported, shipped


def user_sources(modules: set[str], recipes: Sequence[Recipe], roots: Sequence[Path]) -> dict[str, str]:
    """The source of the user's files below some folders that modules and recipes import, by path.

    From then on, networks may be built from them.
    """
    networks = [network for network in networks_of(recipes) if network.module]
    trusted.allow(network.module for network in networks)
    for network in networks:
        trusted.callable_of(network.name)
        imported.expect_its_file(network)
    own = own_files({*modules, *(network.module for network in networks)}, roots)
    trusted.allow(own)
    imported.expect_unedited(own)
    for name, (_, file) in own.items():
        imported.note(name, file, _imported(name, file))
    return {str(below): read_source(file) for below, file in own.values()}


def networks_of(section: Any) -> list[Network]:
    """Every network of a recipe, or of a part of one."""
    if isinstance(section, Network):
        return [section]
    if dataclasses.is_dataclass(section):
        section = [getattr(section, field.name) for field in dataclasses.fields(section)]
    return [network for part in section for network in networks_of(part)] if isinstance(section, (tuple, list)) else []


def own_files(starts: Iterable[str], roots: Sequence[Path]) -> dict[str, tuple[Path, Path]]:
    """The user's modules below some folders, among given ones and their imports: path below the folder, and file.

    Recipes that ship with raykd are included as recipes/…, as a run stores its recipe's source.
    """
    files: dict[str, tuple[Path, Path]] = {}
    left = list(starts)
    while left:
        name = left.pop()
        located = None if name in files else _located(name, roots)
        if located is not None:
            files[name] = located
            left += _imported(name, located[1])
    return files


def _located(name: str, roots: Sequence[Path]) -> tuple[Path, Path] | None:
    """Path below its root, and file, of a loaded module that is the user's or a shipped recipe."""
    file = getattr(sys.modules.get(name), "__file__", None)
    # torch has modules that name files which are not there, as "_classes.py"
    if not file or not file.endswith(".py") or not Path(file).is_absolute():
        return None
    if name.startswith(f"{shipped.PACKAGE}."):
        return Path("recipes", *name.split(".")[2:]).with_suffix(".py"), Path(file)
    if name.split(".")[0] == "raykd":
        return None
    candidates = [path for path in (Path(file), Path(file).resolve()) if not is_installed(path)]
    below = [path.relative_to(root) for path in candidates for root in roots if path.is_relative_to(root)]
    return (below[0], Path(file)) if len(candidates) == 2 and below else None


def _imported(name: str, file: Path) -> Iterator[str]:
    """Names of the modules that a module's file may import, anywhere in it, and of their packages."""
    package = getattr(sys.modules[name], "__package__", None) or ""
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for dotted in names:
            parts = dotted.split(".")
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def read_source(file: Path) -> str:
    """A module's text, decoded by the encoding that it declares."""
    return importlib.util.decode_source(file.read_bytes())


def source_bytes(text: str) -> bytes:
    """A module's text in the encoding that it declares."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(text.encode()).readline)
    return text.encode(encoding)


def materialize(sources: Mapping[str, str], folder: Path) -> None:
    """Write a recipe's sources below a folder and make them importable, as `load` does for the original files.

    From then on, networks may be built from them: call this for trusted sources only. Raises UserError for a file
    outside the folder.
    """
    for name, text in sources.items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"the source {name!r} of a recipe is outside its folder; move it there")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(source_bytes(text))
        parts = Path(name).with_suffix("").parts
        trusted.allow(".".join(parts[i:]) for i in range(len(parts)))
    for path in sorted({str((folder / name).parent) for name in sources} | {str(folder)}):
        if path not in sys.path:
            sys.path.insert(0, path)
    importlib.invalidate_caches()

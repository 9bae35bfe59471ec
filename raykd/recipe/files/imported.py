"""The user's modules that this process has imported: edited since, or of the same name as other files.

Python imports a name once: without these checks a recipe would train with another file's code, or with code from before
an edit, while the run's directory has the text of today.
"""

import contextlib
import importlib.util
import os
import sys
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from raykd import UserError
from raykd.data.storage.own_code import is_installed
from raykd.models.config import Network


@dataclass(frozen=True)
class Seen:
    """A module as it was when a recipe first used it."""

    spec: Any  # of its import: Python makes another one when it reloads the module
    file: Path
    text: bytes
    imports: frozenset[str]


class Origin(NamedTuple):
    """The module of a recipe's network when the recipe was first used; two recipes may name modules alike."""

    network: weakref.ref[Network]
    file: Path
    text: bytes


_SEEN: dict[str, Seen] = {}
_NETWORKS: dict[int, Origin] = {}  # by the id of the recipe's section


def note(name: str, file: Path, imports: Iterable[str]) -> None:
    """Note the text of a module that a recipe uses, unless it is known since its import."""
    spec = sys.modules[name].__spec__
    if name not in _SEEN or _SEEN[name].spec is not spec:
        _SEEN[name] = Seen(spec, file, file.read_bytes(), frozenset(imports))


def edited() -> set[str]:
    """The modules whose files were edited after their import."""
    return {name for name, seen in _SEEN.items() if _is_loaded(name, seen) and _text(seen) != seen.text}


def forget_edited() -> None:
    """Have Python import edited modules again, and those that import them."""
    left = edited()
    while left:
        name = left.pop()
        seen = _SEEN.pop(name)
        sys.modules.pop(name, None)
        with contextlib.suppress(OSError):  # the cached bytecode's age counts in seconds
            Path(importlib.util.cache_from_source(str(seen.file))).unlink()
        left |= {other for other, importer in _SEEN.items() if name in importer.imports}


def expect_unedited(names: Iterable[str]) -> None:
    """Raise UserError if one of the modules was edited after its import."""
    for name in sorted(edited() & set(names)):
        raise UserError(
            f"{_SEEN[name].file} was edited after this process had imported it: importlib.reload({name}) and make the "
            "recipe again, or start Python again"
        )


def expect_from(modules: Iterable[str], folders: Sequence[Path]) -> None:
    """Raise UserError if modules import one that is not of these folders, but of the same name from elsewhere.

    A copy counts as the same: a search's best recipe brings copies of the modules of the recipe that was searched.
    """
    left = {name for module in modules if module in _SEEN for name in _SEEN[module].imports}
    checked: set[str] = set()
    while left:
        name = min(left)
        left.remove(name)
        checked.add(name)
        loaded = getattr(sys.modules.get(name), "__file__", None)
        wanted = _file_of(name, folders)
        if loaded is None or wanted is None or is_installed(Path(loaded)) or name.split(".")[0] == "raykd":
            continue
        if Path(loaded).resolve() == wanted.resolve():
            continue
        if name not in _SEEN or _SEEN[name].text != wanted.read_bytes():
            raise UserError(
                f"module {name} would be {wanted}, but this process has imported {loaded} under that name: rename one, "
                "or use another Python process"
            )
        left |= _SEEN[name].imports - checked


def expect_its_file(network: Network) -> None:
    """Raise UserError if the module of a user's network is another file than when a recipe with it was first used."""
    file = Path(getattr(sys.modules[network.module], "__file__", None) or os.devnull)
    known = _NETWORKS.get(id(network))
    if known is None or known.network() is not network:
        _NETWORKS[id(network)] = Origin(weakref.ref(network), file, file.read_bytes())
    elif known.file != file and known.text != file.read_bytes():
        raise UserError(
            f"network {network.name}: its recipe was loaded with {known.file}, but this process has imported {file} "
            "under that name since: rename one, or use another Python process"
        )


def expect_current(classes: Iterable[type]) -> None:
    """Raise UserError for a class whose module has another one of that name now."""
    for cls in classes:
        module: Any = sys.modules.get(cls.__module__)
        if module is not None and reduce(_attribute, cls.__qualname__.split("."), module) is not cls:
            raise UserError(
                f"{cls.__qualname__}: {cls.__module__} has another class of that name now, since it was imported again "
                f"({getattr(module, '__file__', '')}): make the recipe again"
            )


def _attribute(value: Any, name: str) -> Any:
    return getattr(value, name, None)


def _is_loaded(name: str, seen: Seen) -> bool:
    return getattr(sys.modules.get(name), "__spec__", None) is seen.spec


def _text(seen: Seen) -> bytes:
    try:
        return seen.file.read_bytes()
    except OSError:  # removed: what was imported counts
        return seen.text


def _file_of(name: str, folders: Sequence[Path]) -> Path | None:
    """The file that a module of that name has in the first of the folders that has one."""
    inner = Path(*name.split("."))
    files = (folder / path for folder in folders for path in (inner / "__init__.py", inner.with_suffix(".py")))
    return next((file for file in files if file.is_file()), None)

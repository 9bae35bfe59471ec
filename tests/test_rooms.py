"""The packages' imports, read from the source."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "raykd"
ORDER = "output home terminal optimizers fields metric method contract losses storage models data".split()
ORDER += "methods recipes recipe runs teachers training bench deploy track reports launch api commands".split()
ONE_FILE_EACH = {"commands", "methods", "data/sources"}
OUTSIDE = {"ray": {"launch"}, "wandb": {"track"}, "ffcv": {"data"}}


def modules():
    return sorted(ROOT.rglob("*.py"))


def packages():
    return sorted({path.parent for path in modules()})


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Dotted names that a module imports anywhere, except those for type checkers only."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    here = room(path)
    for name in imported(path):
        parts = name.split(".")
        if parts[0] in OUTSIDE:
            assert here in OUTSIDE[parts[0]], f"only {OUTSIDE[parts[0]]} may import {parts[0]}"
        if parts[0] != "raykd" or len(parts) == 1 or here in ("__main__", "__init__"):
            continue
        there = parts[1]
        if there == here or there in ("UserError", "__version__", "HOMES"):
            continue
        if there == "losses":
            assert here in ("methods", "training"), f"{here} imports losses"
        else:
            assert ORDER.index(there) < ORDER.index(here), f"{here} imports {name}"


def test_ray_internals_are_used_in_one_module_only():
    """`preemption` subclasses torch's backend, which would have every driver import torch."""
    allowed = {"ray_internals.py", "preemption.py"}
    private = [
        path.name
        for path in modules()
        if any(name.startswith(("ray._", "ray.core", "ray.train.torch.config")) for name in imported(path))
    ]
    assert set(private) == allowed


def test_every_package_is_listed():
    rooms = {room(path) for path in modules()} - {"__init__", "__main__"}
    assert rooms == {*ORDER}


@pytest.mark.parametrize("path", packages(), ids=lambda p: str(p.relative_to(ROOT.parent)))
def test_a_package_is_small_and_has_a_docstring(path):
    if str(path.relative_to(ROOT)) not in ONE_FILE_EACH:
        assert len([file for file in path.glob("*.py") if file.stem != "__init__"]) <= (9 if path == ROOT else 8)
    assert ast.get_docstring(ast.parse((path / "__init__.py").read_text()))


@functools.cache
def arrows() -> dict[str, set[str]]:
    """Which module imports which, wherever the import stands: in functions and under TYPE_CHECKING as well."""
    names = {".".join(("raykd", *path.relative_to(ROOT).with_suffix("").parts)): path for path in modules()}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    found: dict[str, set[str]] = {name: set() for name in names}
    for name, path in names.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                wanted = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name] |= {full if full in names else node.module for full in wanted}
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names}
        found[name] = {other for other in found[name] if other in names and other != name}
    return found


def test_modules_have_no_import_cycles():
    expect_no_cycle(arrows())


@pytest.mark.parametrize("path", packages(), ids=lambda p: str(p.relative_to(ROOT.parent)))
def test_parts_of_a_package_import_one_way(path):
    """Its modules, and the packages in it, each as a whole."""
    within = ".".join(path.relative_to(ROOT.parent).parts) + "."
    between: dict[str, set[str]] = {}
    for name, others in arrows().items():
        if name.startswith(within):
            part = name.removeprefix(within).split(".")[0]
            imported_parts = {other.removeprefix(within).split(".")[0] for other in others if other.startswith(within)}
            between.setdefault(part, set()).update(imported_parts - {part})
    expect_no_cycle(between)


def expect_no_cycle(left: dict[str, set[str]]) -> None:
    while leaves := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in leaves}
    assert not left, f"these import each other, or what does: {sorted(left)}"

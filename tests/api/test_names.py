"""The public names of raykd, and the cost of importing it."""

import subprocess
import sys
from pathlib import Path

import raykd
from raykd.api.new.methods import entries
from raykd.data.sources import ALL

PACKAGE = Path(raykd.__file__).parent


def test_importing_raykd_is_lazy():
    code = "import sys; before = set(sys.modules); import raykd; print(*sorted(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in said if name.split(".")[0] not in sys.stdlib_module_names] == ["raykd"]


def test_help_imports_no_heavy_library():
    code = "import sys; from raykd.__main__ import main; main(['--help']); print(*sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = {name.split(".")[0] for name in said.splitlines()[-1].split()}
    assert not loaded & {"torch", "numpy", "ray", "rich", "tyro", "pydantic", "pyarrow"}


def test_every_public_name_exists_and_is_not_shadowed_by_a_module():
    for name, module in raykd.HOMES.items():
        found = getattr(raykd, name)
        assert not isinstance(found, type(sys)), f"{module} hides raykd.{name}"
        assert not (PACKAGE / name).exists() and not (PACKAGE / f"{name}.py").exists()
    assert set(raykd.HOMES) < set(dir(raykd))


def test_every_method_and_source_is_a_public_name():
    methods = {each.cls for each in entries()}
    assert {getattr(raykd, each.__name__) for each in methods} == methods
    assert {getattr(raykd, source.__name__) for source in ALL} == set(ALL)


def test_type_checkers_are_told_of_the_types():
    assert (PACKAGE / "py.typed").exists()

"""raykd as installed by pip: recipes are included, and found by name from an empty folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's files in a separate folder; returns a function that runs Python on them from an empty folder."""
    site, empty = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(ROOT)], check=True)

    def run(*arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(site), "WANDB_MODE": "disabled"}
        done = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, cwd=empty, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.site, run.empty = site, empty
    return run


def test_the_installed_package_is_the_wheels(installed):
    assert Path(installed("-c", "import raykd; print(raykd.__file__)").strip()).is_relative_to(installed.site)
    assert not (installed.site / "recipes").exists() and not (installed.site / "tests").exists()


def test_every_shipped_recipe_is_listed_by_name(installed):
    from raykd.recipe.files import shipped

    said = installed("-m", "raykd", "list", "recipes")
    assert shipped.names() and all(f"\n{name} " in said for name in shipped.names())


def test_a_shipped_recipe_trains_its_teacher_and_itself_from_an_empty_folder(installed):
    short = "--epochs 0.1 --workers 0 --teachers.sources.0.recipe.epochs 0.1 --teachers.sources.0.recipe.workers 0"
    installed("-m", "raykd", "train", "digits/kd", *short.split())
    run = installed.empty / "runs/digits/kd"
    assert json.loads((run / "result.json").read_text())["status"] == "finished"
    assert (run / "source/recipes/digits/kd.py").read_text() == (ROOT / "recipes/digits/kd.py").read_text()


def test_a_users_recipe_can_derive_from_a_shipped_one(installed):
    (installed.empty / "mine.py").write_text(
        "from dataclasses import replace\nfrom raykd.recipes.digits.kd import recipe as kd\nrecipe = replace(kd, "
        "epochs=40)\n"
    )
    assert "--epochs" in installed("-m", "raykd", "train", "mine.py", "--help")

import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from raykd import UserError
from raykd.api.starting.plan import default_name
from raykd.recipe import Recipe
from raykd.recipe.changes import change
from raykd.recipe.files.load import check_types, load, load_object
from raykd.recipe.files.sources import materialize
from raykd.recipes.digits.kd import recipe as kd

GOOD = "from dataclasses import replace\nfrom raykd.recipes.digits.kd import recipe\nrecipe = replace(recipe, seed=7)\n"


def test_a_recipe_in_a_checkout_includes_its_imported_modules():
    loaded = load("recipes/digits/kd.py")
    assert isinstance(loaded.recipe, Recipe)
    assert set(loaded.sources) >= {"recipes/digits/kd.py"}
    assert not any(name.startswith("raykd") for name in loaded.sources)
    assert "raykd train digits/kd" in loaded.docstring


def test_a_recipe_elsewhere_includes_modules_next_to_it(tmp_path):
    (tmp_path / "my_method.py").write_text("from raykd.methods.kd import KD\nclass Mine(KD):\n    pass\n")
    (tmp_path / "mine.py").write_text("from my_method import Mine\n" + GOOD)
    loaded = load(tmp_path / "mine.py")
    assert loaded.recipe.seed == 7
    assert {"mine.py", "my_method.py"} <= set(loaded.sources)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_module_anywhere\n", "no_such_module_anywhere"),
        ("x = 1\nraise ValueError('too bad')\n", "line 2.*too bad"),
        ("recipe = 3\n", "module-level"),
        ("", "module-level"),
        ("recipe = (\n", "SyntaxError"),
        (GOOD.replace("seed=7", "seed='x'"), "recipe.seed"),
        (GOOD.replace("seed=7", "sead=7"), "sead"),
    ],
)
def test_files_without_a_recipe_are_rejected(tmp_path, text, says):
    path = tmp_path / "bad_recipe.py"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        load(path)


def test_missing_files_and_invalid_names_are_rejected(tmp_path):
    with pytest.raises(UserError, match="no recipe at"):
        load(tmp_path / "none.py")
    (tmp_path / "two-words.py").write_text(GOOD)
    with pytest.raises(UserError, match="file name"):
        load(tmp_path / "two-words.py")


def test_fields_are_overridden_by_dotted_names():
    changed = change(kd, {"method.alpha": 0.25, "optimizer.learning-rate": 1e-3, "workers": (1, 4)})
    assert (changed.method.alpha, changed.optimizer.learning_rate, changed.workers) == (0.25, 1e-3, (1, 4))
    assert type(changed.method) is type(kd.method) and changed.data == kd.data


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"method.alhpa": 1}, "method.alpha"),
        ({"epochs": "x"}, "epochs"),
        ({"precision.autocast": "float8"}, "autocast"),
        ({"teachers.sources.0.recipe.epoch": 1}, "teachers.sources.0.recipe.epochs"),
    ],
)
def test_an_invalid_change_is_one_line_with_a_suggestion(values, says):
    with pytest.raises(UserError, match=says) as raised:
        change(kd, values)
    assert "\n" not in str(raised.value)


def test_recipes_are_frozen_and_pickle():
    with pytest.raises(AttributeError):
        kd.seed = 1
    assert pickle.loads(pickle.dumps(kd)) == kd


def test_loading_needs_no_ray():
    code = "import sys; from raykd import load_recipe; load_recipe('recipes/digits/kd.py'); print('ray' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert answer.strip() == "False"


@pytest.mark.parametrize("command", ["report", "sync"])
def test_commands_that_only_read_runs_need_no_torch(command: str, tmp_path):
    run = tmp_path / "runs"
    run.mkdir()
    code = f"""
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from raykd.__main__ import main
print(main([{command!r}, {str(run)!r}]))
print(sorted({{"torch", "ray", "ffcv", "numba"}} & set(sys.modules)))"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stdout.splitlines()[-1] == "[]", answer.stdout


def test_types_are_checked():
    check_types(kd, "kd")


def test_installed_modules_are_not_part_of_a_recipe(tmp_path, monkeypatch):
    """Also where the recipe's root lies above them, as / or a home with its pyenv does."""
    monkeypatch.chdir("/")
    (tmp_path / "with_library.py").write_text("import sched, tyro, nntplib_of_mine\n" + GOOD)
    (tmp_path / "nntplib_of_mine.py").write_text("")
    sys.modules.pop("sched", None)
    loaded = load(tmp_path / "with_library.py")
    assert {"with_library.py", "nntplib_of_mine.py"} <= set(loaded.sources)
    assert not [name for name in loaded.sources if name.endswith("/sched.py") or "tyro" in name]


def test_linked_modules_are_part_of_a_recipe(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked_part.py").write_text("")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "using_a_link.py").write_text("import linked.linked_part\n" + GOOD)
    monkeypatch.chdir(tmp_path / "here")
    assert {"using_a_link.py", "linked/linked_part.py"} <= set(load("using_a_link.py").sources)


def test_recipes_in_other_encodings_are_copied_unchanged(tmp_path):
    source = b"# -*- coding: latin-1 -*-\nname = 'caf\xe9'\nassert len(name) == 4\n" + GOOD.encode()
    (tmp_path / "of_latin_1.py").write_bytes(source)
    loaded = load(tmp_path / "of_latin_1.py")
    materialize(loaded.sources, tmp_path / "copy")
    assert (tmp_path / "copy" / "of_latin_1.py").read_bytes() == source


def test_undeclared_latin_1_is_rejected(tmp_path):
    (tmp_path / "unsaid.py").write_bytes(b"name = 'caf\xe9'\n" + GOOD.encode())
    with pytest.raises(UserError, match="unsaid.py.*SyntaxError"):
        load(tmp_path / "unsaid.py")


def test_a_recipe_in_the_root_folder_has_a_default_name():
    assert default_name(Path("/kd.py")) == "kd"
    assert default_name(Path("/recipes/digits/kd.py")) == "digits/kd"


def test_shipped_recipes_are_found_by_name_from_any_folder(tmp_path, monkeypatch):
    by_path = load("recipes/digits/kd.py")
    monkeypatch.chdir(tmp_path)
    loaded = load("digits/kd")
    assert (loaded.recipe, loaded.path, loaded.sources) == (kd, by_path.path, by_path.sources)
    assert {"recipes/digits/kd.py", "recipes/digits/supervised.py", "recipes/digits/teacher.py"} <= set(loaded.sources)
    for wrong in ("digits/dk", "recipes/digits/kd.py", "recipes/digits/kd"):
        with pytest.raises(UserError, match="did you mean digits/.*ships with raykd"):
            load(wrong)
    for wrong in ("../pyproject", "digits/../digits/kd", "digits", ""):
        with pytest.raises(UserError, match="no recipe"):
            load(wrong)
    (tmp_path / "own.py").write_text(GOOD)
    with pytest.raises(UserError, match=r"the file is own\.py"):
        load("own")


def test_a_module_imported_by_an_earlier_recipe_is_included(tmp_path):
    (tmp_path / "shared_rates.py").write_text("seed = 7\n")
    text = "from shared_rates import seed\n" + GOOD.replace("seed=7", "seed=seed")
    for name in ("first_of_two", "second_of_two"):
        (tmp_path / f"{name}.py").write_text(text)
        assert set(load(tmp_path / f"{name}.py").sources) >= {f"{name}.py", "shared_rates.py"}


def test_a_recipe_made_in_python_includes_the_modules_of_its_classes(tmp_path, monkeypatch):
    (tmp_path / "half_rate.py").write_text("factor = 0.5\n")
    (tmp_path / "my_kd.py").write_text(
        "from dataclasses import dataclass\nimport half_rate\nfrom raykd.methods.kd import KD\nclass Mine(KD):\n    "
        "@dataclass(frozen=True, kw_only=True)\n    class Config(KD.Config):\n        more: int = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from my_kd import Mine

    loaded = load_object(replace(kd, method=Mine.Config()), "notebook/mine")
    assert set(loaded.sources) == {"my_kd.py", "half_rate.py"}
    assert (loaded.recipe.method.more, default_name(loaded.path)) == (1, "notebook/mine")


def test_a_class_defined_in_a_notebook_cell_is_rejected():
    cell = dataclass(frozen=True, kw_only=True)(type("Cell", (type(kd.method),), {"__module__": "__main__"}))
    with pytest.raises(UserError, match="^Cell is defined in a notebook's cell.*%%writefile"):
        load_object(replace(kd, method=cell()), "mine")


def test_an_edited_recipe_is_reloaded_and_an_unchanged_one_keeps_its_classes(tmp_path):
    file = tmp_path / "edited.py"
    text = "from raykd.recipes.digits.kd import recipe as kd\nfrom dataclasses import replace\n"
    file.write_text(text + "class Own: pass\nrecipe = replace(kd, seed=1)\n")
    assert load(file).recipe.seed == 1
    own = sys.modules["edited"].Own
    assert load(file).recipe.seed == 1 and sys.modules["edited"].Own is own
    file.write_text(text + "class Own: pass\nrecipe = replace(kd, seed=2)\n")  # as long, and within the same second
    assert load(file).recipe.seed == 2

"""The content of a run directory, and its use in other places."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from raykd import UserError
from raykd.api.evaluation import evaluate
from raykd.recipe import Run, Teachers
from raykd.recipe.files.load import Loaded
from raykd.recipe.fingerprint import fingerprint
from raykd.recipes.digits.kd import recipe as kd
from raykd.runs.changed import changed_code
from raykd.runs.directory import open_run, trained_teachers
from raykd.runs.recipe import recipe_of
from raykd.storage.folder import Folder

SOURCE = """
shared = "s3://KEY:SECRET@bucket/data"
other = "https://SECRET@host/w.pth", "s3://bucket/data?access_key=A&secret_key=SECRET%2FSECRET&region=b"
address = "postgres://" + user + ":" + password + "@host", f"s3://{key}:{secret}@bucket"
signed = f"https://host/x?token={token}&v=1", "https://host/?sig=%s" % signature, "git+ssh://git@host/x"
"""


def loaded(recipe, **sources):
    return Loaded(recipe, Path("mine.py"), {f"{name}.py": text for name, text in sources.items()}, "")


def remote(key):
    """A recipe that names a shared folder and a teacher by URIs with a key."""
    teachers = Teachers(sources=(Run(path=f"s3://{key}@bucket/teacher?secret_key={key}"),))
    return replace(kd, teachers=teachers, data=replace(kd.data, shared=f"gs://{key}@bucket/data"))


def test_no_credentials_are_written(tmp_path):
    run, recipe = Folder(tmp_path / "run"), remote("KEY:SECRET")
    open_run(run, recipe, {"mine.py": SOURCE}, ["s3://KEY:SECRET@bucket/runs/teachers/a"])
    for path in filter(Path.is_file, tmp_path.rglob("*")):
        assert "SECRET" not in path.read_text(), path
    assert "gs://***@bucket/data" in run.read("recipe.json").decode()
    assert SOURCE.splitlines()[3:] == run.read("source/mine.py").decode().splitlines()[3:]  # no literal secrets


def test_a_run_resumes_with_other_credentials(tmp_path):
    run = Folder(tmp_path / "run")
    open_run(run, remote("A:B"), {"mine.py": SOURCE}, [])
    assert changed_code(run, loaded(remote("C:D"), mine=SOURCE), remote("C:D"), fingerprint(remote("C:D"))) == ""
    open_run(run, remote("C:D"), {"mine.py": SOURCE}, [])


@pytest.mark.parametrize(("path", "other"), [("/here/data.py", "a.py"), ("/here/nets.py", "nets.py")])
def test_changed_modules_are_named_also_if_their_names_end_like_the_recipes(tmp_path, path, other):
    """The second: a recipe that was made in Python, in a run called nets, has no file."""
    run = Folder(tmp_path / "run")
    open_run(run, kd, {other: "depth = 1"}, [])
    now = Loaded(kd, Path(path), {other: "depth = 2"}, "", is_file=path.endswith("data.py"))
    assert f"{other} changed since" in changed_code(run, now, kd, fingerprint(kd))
    assert changed_code(run, replace(now, path=Path("/here") / other, is_file=True), kd, fingerprint(kd)) == ""


def test_teachers_are_readable_by_everyone_who_can_read_the_storage():
    run = Folder("memory://KEY:SECRET@bucket/runs/digits/kd")
    run.write("teachers.json", '["memory://***@bucket/runs/teachers/a", "memory://***@other/b"]')
    assert trained_teachers(run) == ["memory://KEY:SECRET@bucket/runs/teachers/a", "memory://***@other/b"]


@pytest.mark.parametrize("content", ["{}", "[1]", "null"])
def test_damaged_teacher_lists_are_rejected(tmp_path, content):
    (tmp_path / "teachers.json").write_text(content)
    with pytest.raises(UserError, match="teachers.json was changed or damaged"):
        trained_teachers(Folder(tmp_path))


def test_moved_storage_keeps_its_teachers(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    names = [str(before / "teachers" / name) for name in ("a", "b")]
    for name in names:
        Path(name).mkdir(parents=True)
    open_run(Folder(before / "digits/kd"), kd, {}, names)
    assert trained_teachers(Folder(before / "digits/kd")) == names
    before.rename(after)
    (after / "digits").rename(after / "renamed")
    (after / "teachers/b").rmdir()
    assert trained_teachers(Folder(after / "renamed/kd")) == [str(after / "teachers/a"), names[1]]
    assert recipe_of(Folder(after / "renamed/kd")) == kd


def test_a_longer_run_is_rejected_with_instructions(tmp_path):
    run = Folder(tmp_path / "run")
    open_run(run, kd, {}, [])
    longer = replace(kd, epochs=99)
    with pytest.raises(UserError, match=r"another length: epochs .* --student.weights .*/run/student.safetensors$"):
        open_run(run, longer, {}, [])
    with pytest.raises(UserError, match="run of another recipe: .*seed"):
        open_run(run, replace(longer, seed=7), {}, [])


def test_eval_reads_the_users_own_data(tmp_path, monkeypatch):
    """A run of somebody else's says where its data were: nothing is read or written there."""
    theirs = replace(kd, data=replace(kd.data, root=str(tmp_path / "theirs"), shared=str(tmp_path / "shared")))
    open_run(Folder(tmp_path / "run"), theirs, {}, [])
    seen = []

    def experiment(recipe, *others):
        seen.append(recipe.data)
        raise UserError("seen")

    monkeypatch.setattr("raykd.training.setup.Experiment", experiment)
    for options in ({}, {"data_root": "mine"}):
        with pytest.raises(UserError, match="seen"):
            evaluate(tmp_path / "run", **options)
    assert [(data.root, data.shared) for data in seen] == [("~/.cache/raykd", ""), ("mine", "")]


def test_the_best_recipe_of_a_search_can_be_trained(tmp_path):
    """The search's recipe had its modules next to it; their copies are in the search's directory."""
    search = tmp_path / "runs" / "a search"
    (search / "source/exp").mkdir(parents=True)
    (search / "search.json").write_text("{}")
    (search / "source/exp/methods_of_mine.py").write_text("TEMPERATURE = 3.0\n")
    (search / "source/exp/package.py").write_text("from exp.methods_of_mine import TEMPERATURE as ALPHA\n")
    (search / "best.py").write_text(
        "from dataclasses import replace\nfrom exp.package import ALPHA\nfrom methods_of_mine import TEMPERATURE\n"
        "from raykd.recipes.digits.kd import recipe as kd\n"
        "recipe = replace(kd, method=replace(kd.method, temperature=TEMPERATURE))\n"
    )
    check = (
        "import sys\nfrom raykd.recipe.files.load import load\n"
        "found = load(sys.argv[1])\nprint(found.recipe.method.temperature, *sorted(found.sources))"
    )
    root = str(Path(__file__).parents[2])
    for folder, name in ((search, "best.py"), (tmp_path, "runs/a search/best.py")):
        command = [sys.executable, "-c", check, name]
        environment = os.environ | {"PYTHONPATH": root}
        said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        temperature, *sources = said.stdout.split()
        assert temperature == "3.0" and any(source.endswith("methods_of_mine.py") for source in sources)

"""The closing table's student without a teacher: of the same network, image size, data and length."""

import pytest

from raykd.commands.summary import _student_alone
from raykd.storage.folder import Folder
from tests.support.synthetic_runs import write_run


@pytest.fixture
def find(tmp_path, recipe):
    run = write_run(tmp_path / "digits", recipe("KD", 0), "kd")
    return lambda: _student_alone(Folder(run), "digits/kd", str(tmp_path))


def test_the_same_student_without_a_teacher_is_found(tmp_path, recipe, find):
    assert find() == (None, "to compare with the student trained without a teacher, run raykd train digits/supervised")
    alone = write_run(tmp_path / "digits", recipe("Supervised", 3, workers=7), "supervised-seed3", method="Supervised")
    found, hint = find()
    assert found.location == str(alone) and hint == ""


def test_an_own_recipe_outside_a_folder_gets_a_hint(tmp_path, recipe):
    """As `raykd new` names them: mine.py and mine_alone.py."""
    run = write_run(tmp_path, recipe("KD", 0), "mine")
    found, hint = _student_alone(Folder(run), "mine", str(tmp_path))
    assert found is None and hint.endswith("--name mine_alone")
    alone = write_run(tmp_path, recipe("Supervised", 0), "mine_alone", method="Supervised")
    assert _student_alone(Folder(run), "mine", str(tmp_path))[0].location == str(alone)


def test_a_different_length_is_reported(tmp_path, recipe, find):
    write_run(tmp_path / "digits", recipe("Supervised", 0, epochs=30), "supervised", method="Supervised")
    assert find() == (
        None,
        "digits/supervised, trained alone, differs in epochs (30, here 4); to compare, train it with the same settings",
    )


def test_damaged_and_unfinished_runs_are_skipped(tmp_path, recipe, find):
    damaged = write_run(tmp_path / "digits", recipe("Supervised", 0), "supervised", method="Supervised")
    (damaged / "recipe.json").write_text("{")
    write_run(tmp_path / "digits", recipe("Supervised", 1), "supervised-seed1", status="unfinished")
    assert find()[0] is None

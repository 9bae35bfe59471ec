"""The content of study.json after the study's file has changed."""

from dataclasses import replace

from raykd.launch.study.plan import runs_of
from raykd.launch.study.record import Record
from raykd.methods.kd import KD
from raykd.methods.supervised import Supervised
from raykd.recipe.study import Column, Row, Study
from raykd.recipe.study.cells import cells
from raykd.recipes.digits.kd import recipe
from raykd.reports.tables.study import read_study
from raykd.storage.folder import Folder


def test_runs_of_removed_cells_are_dropped_from_the_record(tmp_path):
    study = Study(
        rows=(Row(name="alone", method=Supervised.Config()), Row(name="KD", method=KD.Config())),
        columns=(Column(name="long", recipe=recipe), Column(name="short", recipe=replace(recipe, epochs=1))),
        seeds=(0, 1),
    )
    folder = Folder(str(tmp_path / "table"))
    Record(folder, "table", study, []).begin(runs_of(cells(study), (0, 1), "table"))
    smaller = replace(study, rows=(study.rows[0], replace(study.rows[1], columns=("short",))))
    Record(folder, "table", smaller, []).begin(runs_of(cells(smaller), (0,), "table"))
    names = {(cell.row, cell.column, cell.seed) for cell in read_study(folder).cells}
    pairs = {("alone", "long"), ("alone", "short"), ("KD", "short")}
    assert names == {(*pair, seed) for pair in pairs for seed in (0, 1)}

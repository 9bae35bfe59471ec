"""Studies as values: their cells, the cells' recipes, and invalid studies."""

from dataclasses import replace

import pytest

from raykd import UserError
from raykd.data.mixing import Mixup
from raykd.methods.ca_mkd import CAMKD
from raykd.methods.dkd import DKD
from raykd.methods.funmatch import FunMatch
from raykd.methods.kd import KD
from raykd.methods.supervised import Supervised
from raykd.models.config import Network
from raykd.recipe import Teachers, Train
from raykd.recipe.files.load import check_types
from raykd.recipe.study import Column, Row, Study
from raykd.recipe.study.cells import cells, select
from raykd.recipe.study.load import load_study
from raykd.recipes.digits.ca_mkd import recipe as ca_mkd
from raykd.recipes.digits.funmatch import recipe as funmatch
from raykd.recipes.digits.supervised import recipe as supervised

SMALL = Column(name="resnet20 → resnet8", recipe=ca_mkd)
LARGE = Column(name="resnet20 → resnet14", recipe=replace(ca_mkd, student=Network(name="resnet14")))
ALONE = Row(name="Supervised", method=Supervised.Config())


def study(*rows, columns=(SMALL, LARGE), **more):
    return Study(rows=rows, columns=columns, **more)


def test_a_cell_combines_the_columns_recipe_and_the_rows_method():
    found = cells(study(ALONE, Row(name="KD", method=KD.Config(alpha=0.5))))
    assert [cell.path for cell in found] == [
        "Supervised/resnet20-resnet8",
        "Supervised/resnet20-resnet14",
        "KD/resnet20-resnet8",
        "KD/resnet20-resnet14",
    ]
    assert found[1].recipe == replace(supervised, student=Network(name="resnet14"))
    teacher = replace(ca_mkd.teachers.sources[0], seeds=(0,))
    assert found[2].seeded(7) == replace(
        supervised, method=KD.Config(alpha=0.5), teachers=Teachers(sources=(teacher,)), seed=7
    )


def test_a_method_with_k_teachers_gets_the_columns_first_k():
    recipe = replace(
        ca_mkd, teachers=Teachers(sources=(Train(recipe=supervised, seeds=(4, 2)), *ca_mkd.teachers.sources))
    )
    (cell,) = cells(
        study(Row(name="CA-MKD", method=CAMKD.Config(), teachers=3), columns=(Column(name="c", recipe=recipe),))
    )
    assert [(s.recipe.student.name, s.seeds) for s in cell.recipe.teachers.sources] == [
        ("resnet8", (4, 2)),
        ("resnet20", (0,)),
    ]
    with pytest.raises(UserError, match=r"row CA-MKD, column resnet20 → resnet8: it needs 4 teacher\(s\).* has 3"):
        cells(study(Row(name="CA-MKD", method=CAMKD.Config(), teachers=4), columns=(SMALL,)))


def test_a_rows_changes_apply_to_all_columns_or_one():
    row = Row(
        name="DKD",
        method=DKD.Config(beta=8.0),
        changes={"data.mixing": Mixup(), "epochs": 3},
        in_column={"resnet20 → resnet14": {"method.beta": 2, "epochs": 5}},
    )
    small, large = (cell.recipe for cell in cells(study(row)))
    assert (small.method.beta, small.epochs, small.data.mixing) == (8.0, 3.0, Mixup())
    assert (large.method.beta, large.epochs, large.data.mixing) == (2.0, 5.0, Mixup())
    assert isinstance(small.epochs, float)  # as a file or a command line gives it


def test_a_row_can_be_made_from_a_recipe():
    (cell,) = cells(study(Row.of("FunMatch", funmatch, base=supervised), columns=(SMALL,)))
    assert cell.recipe == funmatch
    assert Row.of("CA-MKD", replace(ca_mkd, workers=7, seed=3), base=supervised) == Row(
        name="CA-MKD", method=CAMKD.Config(), teachers=3
    )


def test_rows_and_columns_can_be_restricted_to_each_other():
    found = cells(study(ALONE, Row(name="KD", method=KD.Config(), columns=(SMALL.name,))))
    assert len(found) == 3
    found = cells(study(ALONE, Row(name="KD", method=KD.Config()), columns=(SMALL, replace(LARGE, rows=("KD",)))))
    assert len(found) == 3


def test_some_rows_and_columns_can_be_selected():
    whole = study(ALONE, Row(name="KD", method=KD.Config()))
    found = cells(whole)
    assert select(found, whole) == found
    assert select(found, whole, rows=["KD"], columns=[LARGE.name]) == found[3:]
    with pytest.raises(UserError, match="--rows: the study has no row 'DKD'; its rows are Supervised; KD"):
        select(found, whole, rows=["DKD"])


@pytest.mark.parametrize(
    "made, message",
    [
        (study(ALONE, ALONE), "two rows, 'Supervised' and 'Supervised', have one name"),
        (study(ALONE, replace(ALONE, name="supervised")), "have names that give one folder, supervised"),
        (study(ALONE, columns=(SMALL, replace(LARGE, name="resnet20: resnet8"))), "one folder, resnet20-resnet8"),
        (study(ALONE, baseline="KD"), "baseline: the study has no row 'KD'; its rows are Supervised"),
        (study(replace(ALONE, columns=("c",))), "row Supervised: columns: the study has no column 'c'"),
        (study(replace(ALONE, in_column={"c": {}})), "row Supervised: in_column: the study has no column 'c'"),
        (
            study(ALONE, columns=(replace(SMALL, rows=("x",)),)),
            "column resnet20 → resnet8: rows: the study has no row 'x'",
        ),
        (study(replace(ALONE, changes={"epoch": 3})), "row Supervised, column .* there is no field epoch"),
        (study(replace(ALONE, changes={"epochs": "3"})), "epochs: '3' is not of type float"),
        (study(replace(ALONE, changes={"method": FunMatch})), "method: .* is not of type MethodConfig"),
    ],
)
def test_invalid_studies_are_rejected(made, message):
    with pytest.raises(UserError, match=message):
        cells(made)


FILE = """
from dataclasses import replace
from raykd.methods.supervised import Supervised
from raykd.recipe import Teachers, Train
from raykd.recipe.study import Column, Row, Study
from raykd.recipes.digits.supervised import recipe

{more}
study = Study(rows=(Row(name="a", method=Supervised.Config()),), columns=(Column(name="c", recipe=recipe),))
"""


def test_a_study_is_loaded_from_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE.format(more=""))
    loaded = load_study(path)
    assert [cell.path for cell in loaded.cells] == ["a/c"] and "mine.py" in loaded.sources
    assert loaded.of(loaded.cells[0].recipe).recipe == supervised
    path.with_name("none.py").write_text("study = 3")
    with pytest.raises(UserError, match=r"no module-level `study = Study\(...\)`"):
        load_study(path.with_name("none.py"))
    with pytest.raises(UserError, match="no study at"):
        load_study(path.with_name("missing.py"))


def test_circular_teachers_are_rejected(tmp_path):
    path = tmp_path / "circle.py"
    circle = (
        "recipe = replace(recipe, teachers=Teachers(sources=(Train(recipe=recipe),)))\n"
        "object.__setattr__(recipe.teachers.sources[0], 'recipe', recipe)\n"
        "from raykd.methods.kd import KD"
    )
    path.write_text(FILE.format(more=circle).replace("Supervised.Config()", "KD.Config()"))
    with pytest.raises(UserError, match="is one of its own teachers"):
        load_study(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rows": ALONE}, "study.rows: .* is not of type tuple[Row, ...]"),
        ({"seeds": 3}, "study.seeds: 3 is not of type tuple[int, ...]"),
        ({"seeds": (True,)}, "study.seeds.0: True is not of type int"),
        ({"published": "a.csv"}, "study.published: 'a.csv' is not of type tuple[str, ...]"),
        ({"baseline": None}, "study.baseline: None is not of type str"),
        ({"rows": (replace(ALONE, method=KD),)}, "study.rows.0.method: .* is not of type MethodConfig"),
        ({"rows": (replace(ALONE, tune={}),)}, "study.rows.0.tune: "),
        (
            {"rows": (replace(ALONE, columns="digits"),)},
            "study.rows.0.columns: 'digits' is not of type tuple[str, ...]",
        ),
        (
            {"columns": (replace(SMALL, recipe="digits/kd"),)},
            "study.columns.0.recipe: 'digits/kd' is not of type Recipe",
        ),
    ],
)
def test_values_of_wrong_types_are_named(changes, says):
    """A study is a user's Python code, and dataclasses accept any value."""
    check_types(study(ALONE), "mine.py", "study")
    start, _, end = f"mine.py: {says}".partition(".*")
    with pytest.raises(UserError) as refused:
        check_types(replace(study(ALONE), **changes), "mine.py", "study")
    assert str(refused.value).startswith(start) and str(refused.value).endswith(end)

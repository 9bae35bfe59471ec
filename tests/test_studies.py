"""Every shipped study: its cells are accepted by the command line, and published figures belong to cells."""

from collections import Counter

import pytest
import torch

from raykd.commands.study import choose
from raykd.models import create
from raykd.recipe.files import shipped
from raykd.recipe.study.cells import cells
from raykd.recipe.study.load import load_study
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.training.setup import build_distiller

STUDIES = sorted(path.stem for path in (shipped.folder() / "studies").glob("*.py"))


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_is_valid_and_documented(name):
    plan, _ = choose([f"studies/{name}"])
    assert f"raykd study studies/{name}" in plan.loaded.docstring
    files = plan.loaded.study.published
    assert bool(plan.published) == bool(files)
    assert len({cell.path for cell in plan.cells}) == len(plan.cells)


def test_crds_published_figures_belong_to_their_cells():
    """Numbers of the paper's tables: 7 + 6 pairs, 12 methods in each and FSP in six, and the students alone."""
    found = [quoted for quoted in choose(["studies/crd"])[0].published if quoted.source.startswith("CRD")]
    values = {(each.row, each.column): each.value for each in found}
    assert values["KD", "resnet56 → resnet20"] == pytest.approx(0.7066)
    assert values["CRD", "wrn_40_2 → ShuffleNetV1"] == pytest.approx(0.7605)
    assert values["Supervised", "vgg13 → vgg8"] == pytest.approx(0.7036)
    counts = Counter(each.row for each in found)
    assert counts["CRD"] == 13 and counts["FSP"] == 6 and counts["AB"] == 12  # raykd's AB lacks a pair


CRD = load_study("studies/crd")


@pytest.mark.parametrize("column", ["resnet56 → resnet20", "wrn_40_2 → ShuffleNetV1"])
def test_crds_benchmark_methods_can_be_built(column):
    """On one pair of alike and one of different networks; the teacher untrained."""
    mine = [cell for cell in cells(CRD.study) if cell.column.name == column]
    name = mine[1].recipe.teachers.sources[0].recipe.student.name
    teacher = FrozenTeacher(name, create(name, 100, image_size=32).eval().requires_grad_(False), "", 0)
    for cell in mine:
        teachers = [teacher] if cell.recipe.teachers.sources else []
        distiller = build_distiller(cell.recipe, teachers, 100, seed=0)
        assert distiller.networks() and next(distiller.parameters()).dtype == torch.float32

"""Recipes that a method can't train are rejected with a line that names the field; unusual but valid ones work."""

from dataclasses import replace

import pytest

from raykd import UserError
from raykd.methods.aekd import AEKD
from raykd.methods.base.multi_teacher import MultiTeacher
from raykd.methods.ca_mkd import CAMKD, Embeddings
from raykd.methods.cl_ilr import CLILR
from raykd.methods.dkd import DKD
from raykd.methods.dml import DML
from raykd.methods.ebkd import EBKD
from raykd.methods.fitnet_mkd import AgreeingHints, FitNetMKD
from raykd.methods.individual import Individual
from raykd.methods.okddip import OKDDip
from raykd.methods.one import ONE
from raykd.methods.teskd import TESKD
from raykd.recipe.validate import validate
from tests.support.tiny_methods import EVERY, data, distiller_for, new_tiny, run, teachers_for, tiny

TAUGHT = [name for name, config in EVERY.items() if config.uses_teachers]
ALONE = [name for name, config in EVERY.items() if not config.uses_teachers]
FEATURES_ALONE = (
    "reviewkd",
    "ickd",
    "mgd",
    "semckd",
    "ofd",
    "at",
    "sp",
    "cc",
    "pkt",
    "rkd",
    "nst",
    "vid",
    "kdsvd",
    "crd",
)
FEATURES_ALONE += ("fsp", "ab", "ft")
WEIGHTED = ("ebkd", "aekd", "ca_mkd")


@pytest.mark.parametrize("name", TAUGHT)
def test_methods_require_their_number_of_teachers(name: str):
    with pytest.raises(UserError, match="`teachers`"):
        EVERY[name].build(new_tiny, [])


@pytest.mark.parametrize("name", ALONE)
def test_methods_without_teachers_reject_teachers(name: str):
    with pytest.raises(UserError, match="`teachers`"):
        EVERY[name].build(new_tiny, [tiny()])


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_of_teachers_require_several_teachers(name: str):
    with pytest.raises(UserError, match="(at least 2|2 to 8).*`teachers`"):
        EVERY[name].build(new_tiny, [tiny()])


@pytest.mark.parametrize("name", [name for name in TAUGHT if name.split()[0] not in FEATURES_ALONE])
def test_teachers_with_other_classes_are_rejected(name: str):
    teachers = teachers_for(name)[:-1] + [tiny(classes=7)]
    with pytest.raises(UserError, match=rf"teachers\[{len(teachers) - 1}\].*7.*5.*`teachers`"):
        EVERY[name].build(new_tiny, teachers)


@pytest.mark.parametrize("name", TAUGHT)
def test_the_student_may_be_as_large_as_its_teachers(name: str):
    teachers = [tiny().double().eval().requires_grad_(False) for _ in teachers_for(name)]
    distiller = distiller_for(name, teachers).double()
    assert sum(run(distiller, teachers, data(4)).terms.values()) > 0


@pytest.mark.parametrize(
    "config, field",
    [
        (OKDDip.Config(branches=1), "method.branches"),
        (ONE.Config(branches=1), "method.branches"),
        (CLILR.Config(branches=1), "method.branches"),
        (Individual.Config(branches=1), "method.branches"),
        (DML.Config(networks=1), "method.networks"),
        (OKDDip.Config(branch_from="stage9"), "method.branch_from.*stage4"),
        (ONE.Config(branch_from="stem"), "method.branch_from.*stage1"),
        (OKDDip.Config(shared_trunk=False, branch_from="stage2"), "method.branch_from.*method.shared_trunk"),
    ],
)
def test_invalid_fields_are_named(config, field: str):
    with pytest.raises(UserError, match=field):
        config.build(new_tiny, [])


@pytest.mark.parametrize(
    "config, teachers, field",
    [
        (DKD.Config(), 2, "`teachers`"),
        (AEKD.Config(tolerance=0.2), 3, "`tolerance`"),
        (AEKD.Config(tolerance=1.5), 3, "`tolerance`"),
        (AEKD.Config(), 9, "2 to 8.*`teachers`"),
        (FitNetMKD.Config(stage="stage7"), 1, "`stage`.*stage4"),
        (FitNetMKD.Config(stage="pooled"), 1, "`stage`"),
        (CAMKD.Config(factor=4), 3, "`factor`.*`convs`"),
        (MultiTeacher.Config(features=AgreeingHints(tolerance=0.3)), 3, "`tolerance`"),
        (MultiTeacher.Config(features=Embeddings(stage="stage1")), 3, "`stage`"),
        (EBKD.Config(fade_from=3.0), 3, "method.fade_from.*method.fade_epochs"),
    ],
)
def test_fields_incompatible_with_the_teachers_are_named(config, teachers: int, field: str):
    with pytest.raises(UserError, match=field):
        config.build(new_tiny, [tiny() for _ in range(teachers)])


def test_teskd_requires_four_stages():
    with pytest.raises(UserError, match="four stages.*tiny has 3.*student"):
        TESKD.Config().build(lambda: tiny(stages=3), [])


def test_fitnet_and_ca_mkd_accept_other_widths_and_sizes():
    for name in ("fitnet_mkd", "ca_mkd"):
        teachers = [tiny(6, 1), tiny(8, 2), tiny(10, 4)]
        for teacher in teachers:
            teacher.double().eval().requires_grad_(False)
        for student in (lambda: tiny(8, 1), lambda: tiny(8, 2), lambda: tiny(8, 4)):
            distiller = distiller_for(name, teachers, student).double()
            assert sum(run(distiller, teachers, data(4)).terms.values()) > 0


@pytest.mark.parametrize("name", [name for name, config in EVERY.items() if hasattr(config, "temperature")])
def test_a_temperature_of_0_is_rejected(name: str):
    with pytest.raises(UserError, match="method.temperature"):
        validate(replace(EVERY[name], temperature=-1.0), "method")

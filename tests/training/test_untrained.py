"""A deployed classifier that no loss term trains ends the run; zero-initialised and frozen classifiers don't."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from raykd import UserError
from raykd.contract import Distiller, Step
from raykd.methods.at import AT
from raykd.methods.dkd import DKD
from raykd.methods.feature_match import FeatureMatch
from raykd.methods.kd import KD
from raykd.methods.srrl import SRRL
from raykd.methods.sum import Sum
from raykd.methods.supervised import Supervised
from raykd.models import create
from raykd.models.staged import parameters
from raykd.recipe import Initialise
from raykd.teachers.frozen_teacher import FrozenTeacher
from raykd.training import loop
from raykd.training.update.state import new_state
from raykd.training.update.untrained import expect_trained_classifier
from tests.support import tiny_training as tiny

RECIPE = replace(tiny.recipe(), batch_size=256, log_every=1)


def train(config, recipe=RECIPE):
    torch.manual_seed(1)
    teacher = tiny.network().eval().requires_grad_(False)
    frozen = [FrozenTeacher("tiny", teacher, "", parameters(teacher))]
    return fit(tiny.distiller(config, [teacher]), recipe, frozen)


def fit(distiller, recipe=RECIPE, frozen=()):
    state = new_state(recipe, distiller, tiny.CPU)
    data, test = tiny.data(recipe)
    return list(loop.fit(recipe, state, frozen, data, lambda d: {"evaluation": {}}, tiny.ALONE, lambda step: False))


@pytest.mark.parametrize("config", [AT.Config(gamma=0.0), SRRL.Config(gamma=0.0), KD.Config(gamma=0.0, alpha=0.0)])
def test_an_untrained_classifier_is_rejected(config):
    with pytest.raises(UserError, match=r"no term of \w+'s loss trains the student's classifier \(fc\)"):
        train(config)


@pytest.mark.parametrize(
    "config",
    [
        KD.Config(gamma=0.0),
        Sum.Config(methods=(KD.Config(), AT.Config(gamma=0.0)), weights=(1.0, 1.0)),
        DKD.Config(gamma=0.0, warm_up_epochs=1),
        FeatureMatch.Config(),
    ],
)
def test_trained_and_frozen_classifiers_are_accepted(config):
    assert train(config)[-1].step == 5


def test_the_classifier_is_also_checked_after_an_initialise_phase():
    recipe = replace(RECIPE, initialise=Initialise(epochs=1))
    with pytest.raises(UserError, match="no term of"):
        train(AT.Config(gamma=0.0), recipe)


def test_a_single_class_is_said_to_be_the_reason():
    """Its cross-entropy is 0, whatever the logits."""
    distiller = Supervised.Config().build(lambda: create("resnet8", 1, 32), [])
    cross_entropy(distiller.student(torch.rand(2, 3, 32, 32)), torch.zeros(2, dtype=torch.long)).backward()
    with pytest.raises(UserError, match="a single class"):
        expect_trained_classifier(distiller, "Supervised")


class WithProjectors(Distiller):
    """A method whose layers may be in a plain list, which torch doesn't register."""

    def __init__(self, student, kind):
        super().__init__()
        self.student, self.projectors = student, kind([nn.Linear(10, 10)])

    def forward(self, batch, teachers, epoch):
        logits = self.student(batch.images)
        return Step({"ce": cross_entropy(self.projectors[0](logits), batch.labels)}, {})

    def networks(self):
        return {"student": self.student}


class Constant(WithProjectors):
    def forward(self, batch, teachers, epoch):
        return Step({"one": torch.ones(())}, {})


@pytest.mark.parametrize(
    ("distiller", "message"),
    [
        (
            lambda: WithProjectors(tiny.network(), list),
            r"WithProjectors: its loss depends on a parameter \[10.*: register its module",
        ),
        (lambda: Constant(tiny.network(), nn.ModuleList), "Constant: its loss depends on no parameter that trains"),
    ],
)
def test_a_loss_of_other_parameters_than_the_methods_own_is_rejected(distiller, message):
    with pytest.raises(UserError, match=message):
        fit(distiller())


def test_registered_layers_are_accepted():
    assert fit(WithProjectors(tiny.network(), nn.ModuleList))[-1].step == 5

"""A source that keeps the labels of a few training images per class."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raykd import UserError
from raykd.data.sources import Digits, FewLabels
from raykd.launch.driver.validate import check
from raykd.methods.kd import KD
from raykd.recipes.digits.kd import recipe as kd


def test_the_given_number_of_labels_per_class_is_kept():
    whole = Digits().open(Path(), download=False)
    few = FewLabels(source=Digits(), per_class=10).open(Path(), download=False)
    labels, all_of_them = np.asarray(few.train.labels), np.asarray(whole.train.labels)
    kept = labels >= 0
    assert np.bincount(labels[kept]).tolist() == [10] * 10 and len(labels) == 1347
    assert (labels[kept] == all_of_them[kept]).all() and (labels[~kept] == -1).all()
    assert few.test.labels == whole.test.labels and few.classes == whole.classes
    other = FewLabels(source=Digits(), per_class=10, seed=1).open(Path(), download=False)
    assert np.asarray(other.train.labels).tolist() != labels.tolist()


def test_a_class_with_fewer_images_is_named():
    with pytest.raises(UserError, match="data.source.per_class: 140, but class 0 has 133 labelled images"):
        FewLabels(source=Digits(), per_class=140).open(Path(), download=False)


def test_a_method_that_reads_labels_is_rejected_before_anything_starts():
    recipe = replace(kd, data=replace(kd.data, source=FewLabels(source=Digits(), per_class=10)))
    with pytest.raises(UserError, match="method: KD requires labels, which some training images don't have"):
        check(recipe)
    check(replace(recipe, method=KD.Config(gamma=0.0)))
    check(replace(recipe, data=replace(recipe.data, labelled_share=1.0)))

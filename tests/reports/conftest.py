import pytest

from tests.support.synthetic_runs import new_recipe


@pytest.fixture
def recipe():
    return new_recipe

import pytest

from tests.reports.synthetic import new_recipe


@pytest.fixture
def recipe():
    return new_recipe

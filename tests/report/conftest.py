import pytest

from tests.report.synthetic import new_recipe


@pytest.fixture
def recipe():
    return new_recipe

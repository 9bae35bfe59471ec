import pytest

from tests.methods.original import constant_of_the_original


@pytest.fixture
def as_original():
    with constant_of_the_original():
        yield

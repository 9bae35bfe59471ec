import pytest

from tests.faults.stage import Stage


@pytest.fixture(scope="session")
def storage(tmp_path_factory):
    """Shared by all fault tests, so that teachers are trained once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def stage(tmp_path, storage):
    return Stage(tmp_path, storage)

import pytest

import raykd


@pytest.fixture(scope="session")
def recipe():
    """The digits student for a third of an epoch, without Ray."""
    changes = {"epochs": 0.3, "workers": 0, "wandb.mode": "disabled"}
    return raykd.change(raykd.load_recipe("digits/supervised"), changes)


@pytest.fixture(scope="session")
def run(recipe, tmp_path_factory):
    return raykd.train(recipe, name="digits/alone", storage=tmp_path_factory.mktemp("storage"), show=False)

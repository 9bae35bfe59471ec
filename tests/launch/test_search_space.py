"""What a search consists of, before anything runs."""

import pytest
from ray import tune

from raykd.launch.search import space, validate
from raykd.recipe import Search

GRID = {"optimizer.learning_rate": tune.grid_search([0.1, 0.2, 0.4]), "batch_size": tune.grid_search([32, 64])}


@pytest.mark.parametrize(
    ("entries", "trials"),
    [
        (GRID, 6),
        (GRID | {"optimizer.weight_decay": tune.loguniform(1e-5, 1e-3)}, 6 * 16),
        ({"optimizer.weight_decay": tune.loguniform(1e-5, 1e-3)}, 16),
    ],
    ids=["grids alone", "grids and a range", "a range"],
)
def test_no_trial_is_a_copy_of_another(entries, trials):
    wanted = Search(space=entries, samples=16)
    places = space.read(wanted)
    assert validate.total(wanted, places) == trials
    picks = {tuple(space.random_pick(places, 0, number).items()) for number in range(trials)}
    assert len(picks) == trials


@pytest.mark.parametrize("field", ["workers", "log_every", "data.root", "teachers.ahead", "collective_timeout"])
def test_what_has_no_effect_on_a_result_is_not_searched(field):
    with pytest.raises(Exception, match=f"search: {field} is the same for all trials"):
        space.read(Search(space={field: tune.choice([1, 2])}))

"""Search spaces, before anything runs."""

from dataclasses import replace

import pytest
from ray import tune

from raykd import UserError
from raykd.launch.driver.run_plan import RunPlan
from raykd.launch.search.search import search
from raykd.launch.search.searcher import picks
from raykd.launch.search.setup import setup_of
from raykd.launch.search.space import read
from raykd.launch.search.trial_table import Trial, TrialTable
from raykd.recipe import Search
from raykd.recipe.files.load import load
from raykd.recipes.digits.supervised import recipe as digits
from raykd.storage.folder import Folder
from raykd.terminal import Terminal
from tests.support import tiny_recipe as tiny

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
def test_no_two_trials_are_equal(entries, trials):
    setup = setup_of(replace(digits, search=Search(space=entries, samples=16)))
    assert setup.trials == trials
    assert len({tuple(setup.space.random_pick(0, number).items()) for number in range(trials)}) == trials


@pytest.mark.parametrize("field", ["workers", "log_every", "data.root", "teachers.ahead", "collective_timeout"])
def test_fields_without_effect_cannot_be_searched(field):
    with pytest.raises(Exception, match=f"search: {field} is the same for all trials"):
        read(Search(space={field: tune.choice([1, 2])}))


@pytest.mark.parametrize(
    ("share", "reason"),
    [(0.001, "0.001 is too small to hold out an image"), (0.999, "0.999 leaves no training images of class 0")],
)
def test_validation_shares_without_images_are_rejected_before_anything_starts(tmp_path, share, reason):
    from raykd.launch.driver.display import Display

    entries = "space={'batch_size': tune.choice([16, 32])}"
    loaded = load(tiny.write(tmp_path, "few", f"replace(base, search=Search({entries}, validation={share}))", tmp_path))
    storage, display = str(tmp_path / "runs"), Display(Terminal())
    plan = RunPlan(loaded=loaded, recipe=loaded.recipe, name="few", storage=storage, display=display)
    with pytest.raises(UserError, match=f"data.validation: {reason}"):
        search(plan)
    assert not (tmp_path / "runs").exists()


def test_repeated_trials_are_compared_by_their_mean(tmp_path):
    """Two choices with two runs each: that with the best single run has the worse mean; a third one is incomplete."""
    wanted = Search(space={"optimizer.learning_rate": tune.uniform(0.1, 1.0)}, samples=3, repeats=2)
    table = TrialTable(Folder(str(tmp_path)), setup_of(replace(digits, search=wanted)))
    assert [pick["id"] for pick in picks(table)] == ["0000", "0001", "0002", "0003", "0004", "0005"]
    rates = [pick["optimizer.learning_rate"] for pick in picks(table)]
    assert rates[0] == rates[1] != rates[2] == rates[3] != rates[4] == rates[5]
    scores = {"0000": 0.9, "0001": 0.5, "0002": 0.8, "0003": 0.7, "0004": 0.99}
    table.trials = {name: Trial(name, {}, "finished", metric=score) for name, score in scores.items()}
    best = table.best()
    assert best.name == "0002" and best.metric == pytest.approx(0.75)


def test_repeats_require_random_or_grid_search():
    from ray.tune.schedulers import PopulationBasedTraining

    swapping = PopulationBasedTraining(hyperparam_mutations={"optimizer.learning_rate": tune.uniform(0.1, 1.0)})
    entries = {"optimizer.learning_rate": tune.uniform(0.1, 1.0)}
    wanted = Search(space=entries, repeats=2, scheduler=swapping)
    with pytest.raises(UserError, match="search: repeats need random or grid search"):
        setup_of(replace(digits, search=wanted))

"""A search from Python: the content of its files, and errors if there is none."""

import json

import pytest

import raykd


def result(path, **summary):
    if summary:
        (path / "search.json").write_text(json.dumps(summary))
    return raykd.SearchResult(path=str(path))


def test_the_best_trial_is_a_run(tmp_path):
    (tmp_path / "trials.csv").write_text("trial,lr\nabc,0.1\ndef,0.2\n")
    found = result(tmp_path, best="def", values={"lr": 0.2})
    assert found.best == raykd.Run(path=f"{tmp_path}/trials/def") and found.values == {"lr": 0.2}
    assert list(found.trials["lr"]) == [0.1, 0.2]


@pytest.mark.parametrize("read", [lambda found: found.summary, lambda found: found.best, lambda found: found.trials])
def test_a_folder_without_a_search_is_reported(tmp_path, read):
    with pytest.raises(raykd.UserError, match="is not the directory of a search that has ended: it has no"):
        read(result(tmp_path))


@pytest.mark.parametrize("read", [lambda found: found.values, lambda found: found.best])
def test_a_search_without_completed_trials_has_no_best_one(tmp_path, read):
    with pytest.raises(raykd.UserError, match="no trial of this search has completed"):
        read(result(tmp_path, states={"failed": 3}))


def test_a_damaged_summary_is_reported(tmp_path):
    (tmp_path / "search.json").write_text("[")
    with pytest.raises(raykd.UserError, match="search.json is not valid JSON"):
        _ = result(tmp_path).summary

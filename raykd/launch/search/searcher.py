"""What Tune runs next: unfinished trials of an earlier start first, then random ones, or those of a searcher."""

import json
from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from raykd import UserError
from raykd.launch.search.trial_table import DONE, TrialTable
from raykd.launch.trials.tuner import UnsavedSearcher


def picks(table: TrialTable) -> list[dict[str, Any]]:
    """The remaining trials of a random or grid search, as Tune's configurations: "id" is a trial's name."""
    setup, known = table.setup, table.trials

    def pick(name: str) -> dict[str, Any]:
        number = int(name) // setup.search.repeats
        return known[name].pick if name in known else setup.space.random_pick(setup.base.seed, number)

    return [{"id": name, **pick(name)} for name in table.remaining()]


class Suggest(UnsavedSearcher):
    """The remaining trials of a search by the recipe's own searcher, the inner one.

    Raises UserError if the inner searcher has a metric, mode or space of its own.
    """

    def __init__(self, table: TrialTable, inner: Searcher):
        search = table.setup.search
        super().__init__(metric=search.metric, mode=search.mode)
        if not inner.set_search_properties(search.metric, search.mode, dict(table.setup.space.domains)):
            raise UserError("search: remove metric, mode and space from the searcher; the recipe's search has them")
        self._table, self._inner, self._left = table, inner, table.remaining()
        self._names: dict[str, str] = {}  # Tune's id of a live trial → our name
        self._asked: dict[str, str] = {}  # Tune's id of a trial that the inner searcher picked → its id there
        done = [trial for trial in table.trials.values() if trial.state in DONE]
        self._earlier = {json.dumps(trial.pick, sort_keys=True): trial.metric for trial in done}
        if type(inner).add_evaluated_point is not Searcher.add_evaluated_point:
            for trial in done:
                if trial.state != "failed" and trial.metric is not None:
                    inner.add_evaluated_point(trial.pick, trial.metric)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        return True  # these are fields of the search

    def suggest(self, trial_id: str) -> Any:
        """A trial's values; None if it must wait; Tune's FINISHED at the end."""
        if not self._left:
            return Searcher.FINISHED
        unfinished = self._table.trials.get(self._left[0])
        pick = self._new_pick(trial_id) if unfinished is None else unfinished.pick
        if not isinstance(pick, dict):
            return pick
        self._names[trial_id] = name = self._left.pop(0)
        return {"id": name, **pick}

    def _new_pick(self, trial_id: str) -> Any:
        """A pick that no earlier start made. A seeded searcher repeats its picks, so it gets their earlier results."""
        asked = trial_id
        pick = self._inner.suggest(asked)
        for again in range(len(self._earlier)):
            key = json.dumps(pick, sort_keys=True)
            if key not in self._earlier:
                break
            metric = self._earlier[key]
            result = None if metric is None else {self._metric: metric}
            self._inner.on_trial_complete(asked, result, error=metric is None)
            asked = f"{trial_id}-{again + 1}"
            pick = self._inner.suggest(asked)
        if isinstance(pick, dict):
            self._asked[trial_id] = asked
        return pick

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id in self._asked:
            self._inner.on_trial_result(self._asked[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        name = self._names.pop(trial_id)
        if trial_id in self._asked:
            failed = error or not result or self._metric not in result or self._table.failed(name)
            self._inner.on_trial_complete(self._asked[trial_id], None if failed else result, error=failed)

    def on_pause(self, trial_id: str) -> None:
        self._pass_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self._pass_on("on_unpause", trial_id)

    def _pass_on(self, event: str, trial_id: str) -> None:
        """BOHB's scheduler informs its searcher; other searchers lack these methods."""
        hear: Callable[[str], None] | None = getattr(self._inner, event, None)
        if trial_id in self._asked and hear is not None:
            hear(self._asked[trial_id])

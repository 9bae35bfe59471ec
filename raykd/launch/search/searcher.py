"""Picks the next trial: unfinished ones of an earlier start first, then the searcher's, or random ones."""

import json
from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from raykd import UserError
from raykd.launch.search import space as spaces
from raykd.launch.search.trial_table import DONE, TrialTable, number
from raykd.launch.trials.tuner import UnsavedSearcher


class Suggest(UnsavedSearcher):
    """The searcher for Tune. Trials are numbered; finished ones are known from the run directories.

    limit: maximum number of concurrent trials; 0: as many as Tune can place.
    Raises UserError if the inner searcher has a metric, mode or space of its own.
    """

    def __init__(
        self, table: TrialTable, space: spaces.Space, inner: Searcher | None, seed: int, total: int, limit: int
    ):
        search = table.search
        super().__init__(metric=search.metric, mode=search.mode)
        if inner is not None and not inner.set_search_properties(search.metric, search.mode, dict(space.domains)):
            raise UserError("search: remove metric, mode and space from the searcher; the recipe's search has them")
        self._table, self._space, self._inner = table, space, inner
        self._seed, self._limit, self._repeats = seed, limit, search.repeats
        known = table.trials
        self._unfinished = [trial for trial in known.values() if trial.state not in DONE]
        self._new = [name for name in map(number, range(total)) if name not in known]
        self._names: dict[str, str] = {}  # Tune's id of a live trial → our name
        self._asked: dict[str, str] = {}  # Tune's id of a trial that the inner searcher picked → its id there
        self._remembered = False

    @property
    def left(self) -> int:
        """Number of trials that remain to be run."""
        return len(self._unfinished) + len(self._new)

    def population(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """All trials, and the space that they are points of: Population Based Training accepts no searcher."""
        points = [{"id": trial.name, **trial.pick} for trial in self._unfinished]
        points += [{"id": name, **spaces.random_pick(self._space, self._seed, int(name))} for name in self._new]
        for point in points:
            self._table.begin(point["id"], {k: v for k, v in point.items() if k != "id"}, "waiting")
        grids = {field: tune.choice(grid) for field, grid in self._space.grids.items()}
        return points, {"id": tune.choice([point["id"] for point in points]), **grids, **self._space.domains}

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        return True  # these are fields of the search

    @property
    def _picker(self) -> Searcher:
        """The inner searcher, if it picked this trial."""
        assert self._inner is not None
        return self._inner

    def suggest(self, trial_id: str) -> Any:
        """A trial's values; None if it must wait; Tune's FINISHED at the end."""
        self._remember()
        if not self.left:
            return Searcher.FINISHED
        if self._limit and len(self._names) >= self._limit:
            return None
        if self._unfinished:
            trial = self._unfinished.pop(0)
            name, pick = trial.name, trial.pick
        else:
            picked = self._pick(trial_id)
            if picked is None or isinstance(picked, str):
                return picked
            name, pick = self._new.pop(0), picked
        self._names[trial_id] = name
        self._table.begin(name, pick, "waiting")
        return {"id": name, **pick}

    def _pick(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._inner is None:
            return spaces.random_pick(self._space, self._seed, int(self._new[0]) // self._repeats)
        pick = self._fresh(trial_id)
        if pick is None or isinstance(pick, str):
            self._asked.pop(trial_id)
        return pick

    def _fresh(self, trial_id: str) -> dict[str, Any] | str | None:
        """A pick that no earlier start made. A seeded searcher repeats its picks, so it gets their earlier results."""
        self._asked[trial_id] = trial_id
        pick = self._picker.suggest(trial_id)
        for again in range(len(self._earlier)):
            key = json.dumps(pick, sort_keys=True)
            if key not in self._earlier:
                break
            metric = self._earlier[key]
            result = None if metric is None else {self._metric: metric}
            self._picker.on_trial_complete(self._asked[trial_id], result, error=metric is None)
            self._asked[trial_id] = f"{trial_id}-{again + 1}"
            pick = self._picker.suggest(self._asked[trial_id])
        return pick

    def _remember(self) -> None:
        """Pass the results of earlier starts to the inner searcher, if it accepts them."""
        if self._remembered:
            return
        self._remembered = True
        done = [trial for trial in self._table.trials.values() if trial.state in DONE]
        self._earlier = {json.dumps(trial.pick, sort_keys=True): trial.metric for trial in done}
        if self._inner is None or type(self._inner).add_evaluated_point is Searcher.add_evaluated_point:
            return
        for trial in done:
            if trial.state != "failed" and trial.metric is not None:
                self._inner.add_evaluated_point(trial.pick, trial.metric)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id in self._asked:
            self._picker.on_trial_result(self._asked[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        name = self._names.pop(trial_id)
        if trial_id in self._asked:
            failed = error or not result or self._metric not in result or self._table.failed(name)
            self._picker.on_trial_complete(self._asked[trial_id], None if failed else result, error=failed)

    def on_pause(self, trial_id: str) -> None:
        self._pass_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self._pass_on("on_unpause", trial_id)

    def _pass_on(self, event: str, trial_id: str) -> None:
        """BOHB's scheduler informs its searcher; other searchers lack these methods."""
        hear: Callable[[str], None] | None = getattr(self._inner, event, None)
        if trial_id in self._asked and hear is not None:
            hear(self._asked[trial_id])

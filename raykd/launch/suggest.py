"""Which trial comes next: unfinished ones of an earlier start first, then what the searcher, or chance, picks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from raykd import UserError
from raykd.launch import space as spaces
from raykd.launch.standing import DONE, Standing, number


class Suggest(Searcher):
    """The searcher that Tune sees. Trials are numbered; what is done is remembered from the run directories.

    limit: trials at once, 0 for as many as Tune can place.
    """

    def __init__(self, standing: Standing, space: spaces.Space, inner: Searcher | None, seed: int, total: int, limit: int):
        super().__init__()
        self._standing, self._space, self._inner = standing, space, inner
        self._seed, self._limit = seed, limit
        known = standing.trials
        self._unfinished = [trial for trial in known.values() if trial.state not in DONE]
        self._new = [name for name in map(number, range(total)) if name not in known]
        self._names: dict[str, str] = {}  # Tune's id of a live trial → ours
        self._asked: set[str] = set()  # Tune's ids that the inner searcher knows
        self._remembered = False

    @property
    def left(self) -> int:
        """Trials that are still to be run."""
        return len(self._unfinished) + len(self._new)

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict, **spec: Any) -> bool:
        self._metric, self._mode = metric, mode
        if self._inner is not None and not self._inner.set_search_properties(metric, mode, dict(self._space.domains)):
            raise UserError("search: leave metric, mode and space out of the searcher; the recipe's search has them")
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self._remember()
        if not self.left:
            return Searcher.FINISHED
        if self._limit and len(self._names) >= self._limit:
            return None
        if self._unfinished:
            trial = self._unfinished.pop(0)
            name, pick = trial.name, trial.pick
        else:
            pick = self._pick(trial_id)
            if pick is None or isinstance(pick, str):
                return pick
            name = self._new.pop(0)
        self._names[trial_id] = name
        self._standing.begin(name, pick, "waiting")
        return {"id": name, **pick}

    def _pick(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._inner is None:
            return spaces.random_pick(self._space, self._seed, int(self._new[0]))
        self._asked.add(trial_id)
        return self._fresh(self._inner.suggest(trial_id), trial_id)

    def _fresh(self, pick: Any, trial_id: str) -> Any:
        """A pick that no earlier start had. A seeded searcher begins as it did then: it is told what came of it."""
        for again in range(len(self._earlier)):
            if not isinstance(pick, dict) or json.dumps(pick, sort_keys=True) not in self._earlier:
                break
            metric = self._earlier[json.dumps(pick, sort_keys=True)]
            before = trial_id if again == 0 else f"{trial_id}-{again}"
            self._inner.on_trial_complete(before, {self._metric: metric}, error=metric is None)
            self._asked.discard(before)
            trial_id = f"{trial_id.split('-')[0]}-{again + 1}"
            pick = self._inner.suggest(trial_id)
        return pick

    def _remember(self) -> None:
        """Tell the inner searcher, where it can listen, what came of the trials of earlier starts."""
        if self._remembered:
            return
        self._remembered = True
        done = [trial for trial in self._standing.trials.values() if trial.state in DONE]
        self._earlier = {json.dumps(trial.pick, sort_keys=True): trial.metric for trial in done}
        if self._inner is None or type(self._inner).add_evaluated_point is Searcher.add_evaluated_point:
            return
        for trial in done:
            if trial.state != "failed":
                self._inner.add_evaluated_point(trial.pick, trial.metric)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id in self._asked:
            self._inner.on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        name = self._names.pop(trial_id)
        if trial_id in self._asked:
            failed = error or not result or self._metric not in result or self._standing.failed(name)
            self._inner.on_trial_complete(trial_id, None if failed else result, error=failed)

    def on_pause(self, trial_id: str) -> None:
        self._pass_on("on_pause", trial_id)

    def on_unpause(self, trial_id: str) -> None:
        self._pass_on("on_unpause", trial_id)

    def _pass_on(self, event: str, trial_id: str) -> None:
        """BOHB's scheduler tells its searcher; others have no ear for it."""
        hear: Callable[[str], None] | None = getattr(self._inner, event, None)
        if trial_id in self._asked and hear is not None:
            hear(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the run directories say all that another start needs."""
        Path(checkpoint_path).write_text("{}")

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

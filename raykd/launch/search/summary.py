"""search.json: what a search compares, how its trials ended, and its best trial."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from raykd import UserError
from raykd.launch.search.setup import Setup
from raykd.output import without_credentials
from raykd.recipe.fingerprint import VERSION, differences, essence, of_earlier_version
from raykd.storage.folder import Folder

FILE = "search.json"
SAME = ("base", "space", "metric", "mode", "repeats")  # in which the starts of one search agree
OF_BEST = ("best", "best_metric", "values", "test")  # absent without a completed trial


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The content of search.json."""

    name: str
    metric: str
    mode: str
    samples: int
    trials: int
    repeats: int
    validation: float  # share of the training split
    space: dict[str, str]  # each searched field as text
    scheduler: str
    searcher: str
    wandb: dict[str, str]
    version: str  # of `base`
    base: dict[str, Any]  # essence of the recipe that all trials start from
    status: Literal["running", "interrupted", "finished", "failed"] = "running"
    seconds: float = 0.0
    states: dict[str, int] = field(default_factory=dict)  # number of trials by state
    best: str = ""  # the best completed trial, empty: none
    best_metric: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)  # of the best trial, by dotted field name
    test: dict[str, float] = field(default_factory=dict)  # metrics of its deployed network on the test split

    @staticmethod
    def of(setup: Setup, name: str) -> "Summary":
        """The summary of a search that begins."""
        search, base = setup.search, setup.base
        return Summary(
            name=name,
            metric=search.metric,
            mode=search.mode,
            samples=search.samples,
            trials=setup.trials,
            repeats=search.repeats,
            validation=base.data.validation,
            space=setup.space.describe(),
            scheduler=type(search.scheduler).__name__ if search.scheduler is not None else "",
            searcher=type(search.searcher).__name__ if search.searcher is not None else "random",
            wandb={"entity": base.wandb.entity, "project": base.wandb.project, "group": name},
            version=VERSION,
            base=essence(base, defaults=False),
        )

    def continuing(self, folder: Folder) -> "Summary":
        """With the duration and best trial of earlier starts; raises UserError if they were of another search."""
        if not folder.exists(FILE):
            return self
        current = json.loads(self._text())
        stored = {"repeats": 1} | folder.read_json(FILE)  # once there were no repeats
        if not {*SAME, "seconds"} <= stored.keys():
            raise UserError(f"{folder}/{FILE} was changed or damaged: give this search another --name")
        if "version" not in stored:
            stored["base"] = of_earlier_version(stored["base"], current["base"])
        differing = differences({key: stored[key] for key in SAME}, {key: current[key] for key in SAME})
        if differing:
            raise UserError(
                f"{folder} contains another search: {'; '.join(differing[:4])}. "
                "Give this one another --name, or remove that directory"
            )
        best = {name: stored[name] for name in OF_BEST} if stored.keys() >= set(OF_BEST) else {}
        return replace(self, seconds=stored["seconds"], **best)

    def write(self, folder: Folder) -> None:
        """Write search.json."""
        folder.write(FILE, self._text())

    def docstring(self) -> str:
        """The docstring of best.py."""
        values = "\n".join(f"    {field} = {value}" for field, value in self.values.items())
        swapped = "PopulationBased" in self.scheduler or self.scheduler == "PB2"
        schedule = (
            f"\nPopulation Based Training changed values during training: these are the last ones, "
            f"trials/{self.best}/swaps.jsonl has their history.\n"
            if swapped
            else ""
        )
        return (
            f"The best of {self.trials} trials of the search {self.name}.\n\n{values}\n\n"
            f"{self.metric} {self.best_metric:.4f} on {self.validation:g} of the training split, held "
            f"out; on the test split, measured once:\ntop-1 {self.test['top1']:.4f}. "
            f"`raykd train` of this file trains on the whole training split.\n{schedule}"
        )

    def _text(self) -> str:
        fields = {name: value for name, value in asdict(self).items() if self.best or name not in OF_BEST}
        return json.dumps(without_credentials(fields), indent=1)

"""The trials of a search as numbers, and the importance of each field."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from raykd.reports.collect import SearchRecord

LEAST = 6  # finished trials below which an importance would be noise


@dataclass(frozen=True, kw_only=True)
class Field:
    """One searched field: values of the finished trials, numeric or as positions in `choices`."""

    name: str
    values: list[float]
    choices: list[str]  # [] for numbers
    log: bool
    importance: float  # share of the variance that a random forest's fANOVA gives it, nan with few trials
    correlation: float  # Spearman's ρ with the metric, nan for choices and with few trials


@dataclass(frozen=True, kw_only=True)
class Trials:
    """The trials of one search: those with a metric and the others, and the searched fields."""

    record: SearchRecord
    finished: list[dict[str, str]]
    others: list[dict[str, str]]
    scores: list[float]
    fields: list[Field]

    @property
    def ranked(self) -> list[tuple[dict[str, str], float]]:
        """The finished trials with their scores, the best first; of equal ones, the earliest."""
        sign = -1 if self.record.settings.mode == "max" else 1
        return sorted(zip(self.finished, self.scores), key=lambda pair: sign * pair[1])

    @property
    def best(self) -> str:
        """The name of the best trial; "" if none has finished."""
        return self.ranked[0][0]["trial"] if self.finished else ""

    @property
    def by_importance(self) -> list[Field]:
        """The fields, the most important first."""
        return sorted(self.fields, key=lambda field: -np.nan_to_num(field.importance))


def read_trials(record: SearchRecord) -> Trials:
    """Trials with and without a metric; the best is recomputed from the table."""
    finished = [t for t in record.trials if _number(t["metric"]) is not None and t["state"] not in ("failed", "error")]
    others = [t for t in record.trials if t not in finished]
    scores = [float(t["metric"]) for t in finished]
    columns = [_column(finished, name) for name in record.fields]
    weights = _importance(columns, scores)
    fields = [
        Field(
            name=name,
            values=values,
            choices=choices,
            log=not choices and bool(values) and min(values) > 0 and max(values) >= 30 * min(values),
            importance=weight,
            correlation=np.nan if choices else _spearman(values, scores),
        )
        for name, (values, choices), weight in zip(record.fields, columns, weights, strict=True)
    ]
    return Trials(
        record=record,
        finished=finished,
        others=others,
        scores=scores,
        fields=fields,
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if np.isfinite(value) else None


def _column(trials: list[dict[str, str]], name: str) -> tuple[list[float], list[str]]:
    texts = [t[name] for t in trials]
    numbers = [_number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    if len(known) == len(numbers):
        return known, []
    choices = sorted(set(texts))
    return [float(choices.index(text)) for text in texts], choices


def _spearman(values: list[float], scores: list[float]) -> float:
    if len(values) < LEAST or len(set(values)) < 2 or len(set(scores)) < 2:
        return np.nan
    from scipy import stats

    return float(stats.spearmanr(values, scores).statistic)


def _importance(columns: list[tuple[list[float], list[str]]], scores: list[float]) -> list[float]:
    """Optuna's fANOVA (Hutter et al. 2014) over the finished trials, from any searcher."""
    varied = [i for i, (values, _) in enumerate(columns) if len(set(values)) > 1]
    if len(scores) < LEAST or not varied or len(set(scores)) < 2:
        return [np.nan] * len(columns)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    spaces = {str(i): _space(optuna, *columns[i]) for i in varied}
    for t, score in enumerate(scores):
        values = {str(i): columns[i][1][int(columns[i][0][t])] if columns[i][1] else columns[i][0][t] for i in varied}
        study.add_trial(optuna.create_trial(params=values, distributions=spaces, value=score))
    weights = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    return [float(weights.get(str(i), 0.0)) for i in range(len(columns))]


def _space(optuna: Any, values: list[float], choices: list[str]) -> Any:
    """Optuna's distribution of a hyper-parameter."""
    if choices:
        return optuna.distributions.CategoricalDistribution(choices)
    low, high = min(values), max(values)
    return optuna.distributions.FloatDistribution(low, high, log=low > 0 and high >= 30 * low)

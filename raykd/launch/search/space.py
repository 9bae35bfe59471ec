"""The search space: flat `ray.tune` domains for any searcher, and the recipe values of a pick."""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ray import tune
from ray.tune.search.sample import Categorical, Domain, Function, Quantized

from raykd import UserError
from raykd.data.config import Data
from raykd.fields import affects_result
from raykd.recipe import Recipe, Search, Simplex, Teachers, When

SECTIONS = (("", Recipe), ("data.", Data), ("teachers.", Teachers))
# Fields that control where and how a run executes: a search sets them for all of its trials.
FIXED = [at + field.name for at, of in SECTIONS for field in dataclasses.fields(of) if not affects_result(field)]
FIXED += ["data.validation"]

PLAIN = (str, int, float, bool)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A search space. A pick from it is a flat dict of plain values by field, taken from `domains` and `grids`."""

    domains: dict[str, Domain]
    grids: dict[str, list]
    objects: dict[str, dict[str, Any]]  # field → label in a pick → the object that it denotes
    simplexes: tuple[tuple[tuple[str, ...], float], ...]
    conditions: dict[str, When]  # with values as in a pick

    @property
    def fields(self) -> list[str]:
        return [*self.grids, *self.domains]

    @property
    def choices(self) -> dict[str, list]:
        """The fields that have a list of choices."""
        categories = {name: list(d.categories) for name, d in self.domains.items() if isinstance(d, Categorical)}
        return self.grids | categories

    def values(self, pick: Mapping[str, Any]) -> dict[str, Any]:
        """The dotted overrides of a pick as plain values; fields whose condition does not hold are omitted."""
        chosen = {field: _plain(value) for field, value in pick.items() if self._holds(field, pick)}
        for fields, total in self.simplexes:
            # Exponential variates, divided by their sum, are uniform on the simplex.
            parts = {field: -math.log(pick[field]) for field in fields}
            chosen |= {field: total * part / sum(parts.values()) for field, part in parts.items()}
        return chosen

    def overrides(self, pick: Mapping[str, Any]) -> dict[str, Any]:
        """The dotted overrides of a pick as the recipe's own values."""
        return self.with_objects(self.values(pick))

    def with_objects(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Plain values with labels replaced by their objects."""
        return {k: self.objects[k][v] if k in self.objects else v for k, v in values.items()}

    def _holds(self, field: str, pick: Mapping[str, Any]) -> bool:
        condition = self.conditions.get(field)
        return condition is None or (pick[condition.field] in condition.one_of and self._holds(condition.field, pick))

    def random_pick(self, seed: int, number: int) -> dict[str, Any]:
        """The pick of a random trial: a pure function of seed and number, so that a search can be resumed."""
        random = np.random.RandomState([seed % 2**32, number])
        points = list(itertools.product(*self.grids.values()))
        grid = dict(zip(self.grids, points[number % len(points)]))
        return grid | {field: _plain(domain.sample(random_state=random)) for field, domain in self.domains.items()}

    def examples(self, seed: int) -> Iterator[dict[str, Any]]:
        """Picks that cover every field and every choice at least once, for validation before the start."""
        drawn = [self.random_pick(seed, number) for number in range(8)]
        yield from drawn
        listed = [*self.choices.items(), *((each.field, each.one_of) for each in self.conditions.values())]
        for field, choices in listed:
            yield from (drawn[0] | {field: choice} for choice in choices)

    def describe(self) -> dict[str, str]:
        """Each field as text: "loguniform(0.001, 1.0)", "choice(2, 4)", "simplex, sums to 1"."""
        texts = {field: f"grid({', '.join(map(str, grid))})" for field, grid in self.grids.items()}
        texts |= {field: _words(domain) for field, domain in self.domains.items()}
        for fields, total in self.simplexes:
            texts |= {field: f"simplex({', '.join(fields)}; sum {total:g})" for field in fields}
        for field, condition in self.conditions.items():
            texts[field] += f" when {condition.field} is {' or '.join(map(str, condition.one_of))}"
        return texts


def read(search: Search) -> Space:
    """The space of a search; raises UserError for an invalid entry."""
    space = Space(domains={}, grids={}, objects={}, simplexes=(), conditions={})
    for key, entry in search.space.items():
        space = _enter(space, key.replace("-", "_"), entry)
    for field, condition in space.conditions.items():
        if condition.field not in space.fields:
            raise UserError(f"search: {field} depends on {condition.field}, which is not searched: add it to the space")
    for field in space.fields:
        if any(field == fixed or field.startswith(f"{fixed}.") for fixed in FIXED):
            raise UserError(f"search: {field} is the same for all trials; set it in the recipe")
    return space


def _enter(space: Space, key: str, entry: Any) -> Space:
    if isinstance(entry, When):
        condition = replace(entry, field=entry.field.replace("-", "_"), one_of=tuple(map(_in_pick, entry.one_of)))
        space = replace(space, conditions=space.conditions | {key: condition})
        if not isinstance(entry.space, Domain):
            raise UserError(f"search: {key} depends on {entry.field}, so it needs a space such as tune.uniform(0, 1)")
        entry = entry.space
    if isinstance(entry, Simplex):
        fields = tuple(name.strip() for name in key.split(","))
        if len(fields) < 2 or entry.total <= 0:
            raise UserError(f"search: a Simplex needs two fields or more, joined by commas, and a total above 0: {key}")
        latent = {field: tune.uniform(1e-9, 1.0) for field in fields}
        return replace(space, domains=space.domains | latent, simplexes=(*space.simplexes, (fields, entry.total)))
    if isinstance(entry, dict) and set(entry) == {"grid_search"}:
        labels, objects = _labelled(key, list(entry["grid_search"]))
        return replace(space, grids=space.grids | {key: labels}, objects=space.objects | objects)
    if isinstance(entry, Categorical):
        labels, objects = _labelled(key, list(entry.categories))
        if objects:
            entry = Categorical(labels).uniform()
        return replace(space, domains=space.domains | {key: entry}, objects=space.objects | objects)
    if not isinstance(entry, Domain) or isinstance(entry, Function):
        raise UserError(
            f"search: {key} is {entry!r}, which is not a search space: use tune.uniform, choice, grid_search …"
        )
    return replace(space, domains=space.domains | {key: entry})


def _labelled(field: str, values: list) -> tuple[list, dict[str, dict[str, Any]]]:
    """Values as passed to a searcher: plain ones unchanged, others by a short label."""
    if all(isinstance(value, PLAIN) for value in values):
        return values, {}
    labels = {label(value): value for value in values}
    if len(labels) < len(values):
        written = ", ".join(map(label, values))
        raise UserError(f"search: {field} has two choices that are written the same: {written}: remove one")
    return list(labels), {field: labels}


def label(value: Any) -> str:
    """A choice as text: KD.Config(alpha=0.5) is "KD(alpha=0.5)"; fields with default values are omitted."""
    if not dataclasses.is_dataclass(value):
        return str(value)
    shown = [
        f"{field.name}={label(getattr(value, field.name))}"
        for field in dataclasses.fields(value)
        if field.default is dataclasses.MISSING or getattr(value, field.name) != field.default
    ]
    name = type(value).__qualname__.removesuffix(".Config")
    return f"{name}({', '.join(shown)})" if shown else name


def _in_pick(value: Any) -> Any:
    """A choice as a pick has it."""
    return value if isinstance(value, PLAIN) else label(value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _words(domain: Domain) -> str:
    if isinstance(domain, Categorical):
        return f"choice({', '.join(map(str, domain.categories))})"
    sampler, step = domain.get_sampler(), ""
    if isinstance(sampler, Quantized):
        step, sampler = f" in steps of {sampler.q:g}", sampler.get_sampler()
    kind = re.sub(r"[^a-z]", "", type(sampler).__name__.lower())
    if kind == "normal":
        return f"normal({sampler.mean:g}, {sampler.sd:g}){step}"
    bounds: Any = domain  # Float or Integer
    return f"{kind}({bounds.lower:g}, {bounds.upper:g}){step}"

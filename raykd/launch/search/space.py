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
    conditions: dict[str, When]

    @property
    def fields(self) -> list[str]:
        return [*self.grids, *self.domains]


def read(search: Search) -> Space:
    """The space of a search; raises UserError for an invalid entry."""
    space = Space(domains={}, grids={}, objects={}, simplexes=(), conditions={})
    for key, entry in search.space.items():
        space = _enter(space, key.replace("-", "_"), entry)
    for field, condition in space.conditions.items():
        if condition.field.replace("-", "_") not in space.fields:
            raise UserError(f"search: {field} depends on {condition.field}, which is not searched: add it to the space")
    for field in space.fields:
        if any(field == fixed or field.startswith(f"{fixed}.") for fixed in FIXED):
            raise UserError(f"search: {field} is the same for all trials; set it in the recipe")
    return space


def _enter(space: Space, key: str, entry: Any) -> Space:
    if isinstance(entry, When):
        space = replace(space, conditions=space.conditions | {key: entry})
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


def values(space: Space, pick: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted overrides of a pick; fields whose condition does not hold are omitted."""
    chosen = {field: _plain(value) for field, value in pick.items() if _holds(space, field, pick)}
    for fields, total in space.simplexes:
        # Exponential variates, divided by their sum, are uniform on the simplex.
        parts = {field: -math.log(pick[field]) for field in fields}
        chosen |= {field: total * part / sum(parts.values()) for field, part in parts.items()}
    return chosen


def overrides(space: Space, pick: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with labels replaced by their objects."""
    return {k: space.objects[k][v] if k in space.objects else v for k, v in values(space, pick).items()}


def _holds(space: Space, field: str, pick: Mapping[str, Any]) -> bool:
    condition = space.conditions.get(field)
    if condition is None:
        return True
    other = condition.field.replace("-", "_")
    values = {value if isinstance(value, PLAIN) else label(value) for value in condition.one_of}
    return pick[other] in values and _holds(space, other, pick)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def random_pick(space: Space, seed: int, number: int) -> dict[str, Any]:
    """The pick of a random trial: a pure function of seed and number, so that a search can be resumed."""
    random = np.random.RandomState([seed % 2**32, number])
    points = list(itertools.product(*space.grids.values()))
    grid = dict(zip(space.grids, points[number % len(points)]))
    return grid | {field: _plain(domain.sample(random_state=random)) for field, domain in space.domains.items()}


def grid_points(space: Space) -> int:
    return math.prod(len(grid) for grid in space.grids.values())


def examples(space: Space, seed: int) -> Iterator[dict[str, Any]]:
    """Picks that cover every field and every choice at least once, for validation before the start."""
    for number in range(8):
        yield random_pick(space, seed, number)
    drawn = random_pick(space, seed, 0)
    for field, choices in finite(space).items():
        for choice in choices:
            yield drawn | {field: choice}
    for condition in space.conditions.values():
        for value in condition.one_of:
            yield drawn | {condition.field.replace("-", "_"): value if isinstance(value, PLAIN) else label(value)}


def finite(space: Space) -> dict[str, list]:
    """The fields that have a list of choices."""
    listed = {name: domain for name, domain in space.domains.items() if isinstance(domain, Categorical)}
    return dict(space.grids) | {name: list(domain.categories) for name, domain in listed.items()}


def describe(search: Search, space: Space) -> dict[str, str]:
    """Each searched field as text: "loguniform(0.001, 1.0)", "choice(2, 4)", "simplex, sums to 1"."""
    texts = {field: f"grid({', '.join(map(str, grid))})" for field, grid in space.grids.items()}
    texts |= {field: _words(domain) for field, domain in space.domains.items()}
    for fields, total in space.simplexes:
        texts |= {field: f"simplex({', '.join(fields)}; sum {total:g})" for field in fields}
    for field, condition in space.conditions.items():
        values = " or ".join(value if isinstance(value, str) else label(value) for value in condition.one_of)
        texts[field] += f" when {condition.field} is {values}"
    return texts


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

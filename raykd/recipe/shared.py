"""What a command line changes in a recipe without an effect on its result, changed in its teachers' recipes too."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from raykd.fields import affects_result
from raykd.recipe import Recipe, Teacher, Train
from raykd.recipe.changes import change, value_at

OWN = ("teachers", "search", "metrics", "published")  # sections that say nothing about how other recipes run


def shared_with_teachers(before: Recipe, after: Recipe) -> Recipe:
    """`after`, whose changes without an effect on the result hold for the teachers that it trains first, too.

    Such as wandb.mode, data.root, workers and gpus_per_worker. A teacher's recipe is changed where it had the value of
    `before`; so are those of its own teachers. before: the recipe without the command line's overrides.
    """
    changes = {name: (old, new) for name, old, new in _without_effect(before, after, "") if old != new}
    return _with_teachers(after, changes) if changes else after


def _without_effect(before: Any, after: Any, prefix: str, inside: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Dotted name and both values of each field that has no effect; inside: of a section that has none."""
    for field in fields(before):
        name, old, new = f"{prefix}{field.name}", getattr(before, field.name), getattr(after, field.name)
        free = inside or not affects_result(field)
        if name in OWN:
            continue
        if is_dataclass(old) and type(old) is type(new):
            yield from _without_effect(old, new, f"{name}.", free)
        elif free:
            yield name, old, new


def _with_teachers(recipe: Recipe, changes: dict[str, tuple[Any, Any]]) -> Recipe:
    sources = tuple(_changed(source, changes) for source in recipe.teachers.sources)
    return replace(recipe, teachers=replace(recipe.teachers, sources=sources))


def _changed(source: Teacher, changes: dict[str, tuple[Any, Any]]) -> Teacher:
    if not isinstance(source, Train):
        return source
    teacher = source.recipe
    same = {name: new for name, (old, new) in changes.items() if value_at(teacher, name.split(".")) == old}
    return replace(source, recipe=_with_teachers(change(teacher, same), changes))

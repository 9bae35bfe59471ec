"""A teacher's classes and the data's: matched by name, never by count."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from raykd import UserError

SHOWN = 4  # names in a message


def positions_of(
    teacher: str, namings: Sequence[Sequence[str]], classes: Sequence[str], renamed: Mapping[str, str]
) -> tuple[int, ...]:
    """Where each of the data's classes stands among the teacher's.

    namings: the teacher's classes in order, under each of the names that they go by. renamed: the teacher's name of
    classes of the data, where it differs. Raises UserError, naming the difference, where no naming has all of them.
    """
    wanted = [renamed.get(name, name) for name in classes]
    best: list[str] = wanted
    known: Sequence[str] = ()
    for naming in namings:
        places = {name: i for i, name in enumerate(naming) if list(naming).count(name) == 1}
        missing = [name for name in wanted if name not in places]
        if not missing:
            return tuple(places[name] for name in wanted)
        if len(missing) < len(best) or not known:
            best, known = missing, naming
    close = get_close_matches(best[0], known, 1)
    hint = f" (it has {close[0]!r})" if close else ""
    raise UserError(
        f"teachers: {teacher} does not know {len(best)} of the data's {len(classes)} classes: {_some(best)}{hint}; its "
        f"{len(known)} are {_some(known)}: give the pairs of names that mean the same in `teachers.classes`, or a "
        "teacher of this data"
    )


def expect_pairs(pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> dict[str, str]:
    """`teachers.classes` by the data's names; raises UserError for names that the data don't have, or a pair twice."""
    renamed = dict(pairs)
    unknown = [name for name in renamed if name not in classes]
    if unknown:
        close = get_close_matches(unknown[0], classes, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; they are {_some(classes)}"
        raise UserError(f"teachers.classes: the data has no class {unknown[0]!r}{hint}")
    if len(renamed) < len(pairs) or len(set(renamed.values())) < len(renamed):
        raise UserError("teachers.classes: a class may appear in one pair only")
    return renamed


def remark_on(positions: Sequence[int], count: int) -> str:
    """What is to be said of a match; empty where the classes are the very same."""
    if count > len(positions):
        return f"{len(positions)} of its {count} classes are the data's, the others are left out"
    if list(positions) == list(range(count)):
        return ""
    return "its classes stand in another order, and are put in the data's"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (" …" if len(names) > SHOWN else "")

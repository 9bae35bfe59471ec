"""Matches a teacher's classes with the data's, by name and never by count."""

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from raykd import UserError

SHOWN = 4  # maximum number of names in a message


def positions_of(
    teacher: str, namings: Sequence[Sequence[str]], classes: Sequence[str], renamed: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[int, ...], ...]:
    """The position of each of the data's classes among the teacher's: one, or several that form one class.

    namings: the teacher's classes in order, in each of their naming schemes. renamed: the teacher's names of
    classes of the data, if they differ. Raises UserError, naming the difference, if no scheme has all of them.
    """
    if not renamed and any(tuple(naming) == tuple(classes) for naming in namings):
        return tuple((i,) for i in range(len(classes)))
    groups = [renamed.get(name, (name,)) for name in classes]
    required = [name for group in groups for name in group]
    twice = next((name for name, count in Counter(classes).items() if count > 1), None)
    if twice is not None:
        raise UserError(
            f"teachers: two classes of the data are named {twice!r}: rename one, so that those of {teacher} can be "
            "matched"
        )
    best: list[str] = required
    known: Sequence[str] = ()
    for naming in namings:
        counts = Counter(naming)
        positions = {name: i for i, name in enumerate(naming) if counts[name] == 1}
        missing = [name for name in required if name not in positions]
        if not missing:
            return tuple(tuple(positions[name] for name in group) for group in groups)
        if len(missing) < len(best) or not known:
            best, known = missing, naming
    close = get_close_matches(best[0], known, 1)
    hint = f" (it has {close[0]!r})" if close else ""
    raise UserError(
        f"teachers: {teacher} lacks {len(best)} of the data's {len(classes)} classes: {_some(best)}{hint}; its "
        f"{len(known)} classes are {_some(known)}. Map names with `teachers.classes`, or use a teacher trained on "
        "these classes"
    )


def expect_pairs(pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`teachers.classes` by the data's names; several of the teacher's classes may be one of the data's.

    Raises UserError for unknown names of the data's classes, and for a class of the teacher in two pairs.
    """
    renamed: dict[str, tuple[str, ...]] = {}
    for name, theirs in pairs:
        renamed[name] = (*renamed.get(name, ()), theirs)
    unknown = [name for name in renamed if name not in classes]
    if unknown:
        close = get_close_matches(unknown[0], classes, 1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; they are {_some(classes)}"
        raise UserError(f"teachers.classes: the data has no class {unknown[0]!r}{hint}")
    if len({theirs for _, theirs in pairs}) < len(pairs):
        raise UserError(
            "teachers.classes: a class of the teacher is mapped to several classes of the data; keep one of them"
        )
    return renamed


def describe_match(positions: Sequence[Sequence[int]], count: int) -> str:
    """A remark on a match for the user; empty if the classes are identical."""
    rows = [row for group in positions for row in group]
    if len(rows) > len(positions):
        rest = "; the others are ignored" if count > len(rows) else ""
        return f"{len(rows)} of its {count} classes are merged into {len(positions)} by adding probabilities{rest}"
    if count > len(rows):
        return f"{len(rows)} of its {count} classes are used; the others are ignored"
    if rows == list(range(count)):
        return ""
    return "its classes are reordered to the data's order"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (" …" if len(names) > SHOWN else "")

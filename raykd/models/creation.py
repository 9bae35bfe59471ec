"""From a name to a network."""

import difflib

from raykd import UserError
from raykd.models import catalogue
from raykd.models.staged import Staged


def create(name: str, num_classes: int, image_size: int, weights: str = "") -> Staged:
    """See `raykd.models.create`."""
    if name not in catalogue.NETWORKS:
        raise UserError(f"unknown network {name!r}{suggest(name, catalogue.NETWORKS)}")
    parts = catalogue.build(name, num_classes, image_size)
    return Staged(**parts._asdict(), name=name, num_classes=num_classes, image_size=image_size)


def names() -> list[tuple[str, str]]:
    """See `raykd.models.names`."""
    return [(name, line) for name, (line, _) in catalogue.NETWORKS.items()]


def suggest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), n=3)
    return f": did you mean {', '.join(close)}?" if close else ""

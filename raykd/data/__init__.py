"""Data sets: written once as .beton files, read by FFCV, augmented by pure functions of (seed, pass, index)."""


def names() -> list[tuple[str, str]]:
    """Name and description of every source."""
    from raykd.data.sources import ALL

    return [(source.name, source.description) for source in ALL]

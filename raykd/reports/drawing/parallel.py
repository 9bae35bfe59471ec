"""Parallel coordinates of a search's trials."""

import math
from collections.abc import Callable, Sequence

from raykd.reports.drawing.axes import short
from raykd.reports.drawing.svg import WIDTH, path, svg, text
from raykd.reports.trials import Field


def parallel(fields: Sequence[Field], scores: list[float], maximize: bool) -> str:
    """Parallel coordinates: one line for each trial over its fields and its metric."""
    columns = [(f.name, f.values, f.choices, f.log) for f in fields] + [("metric", scores, [], False)]
    width, height, top, bottom = max(WIDTH, 124 * len(columns)), 280, 44, 26
    places = [52 + i * (width - 104) / (len(columns) - 1) for i in range(len(columns))]
    axes = [_vertical(values, choices, log, top, height - bottom) for _, values, choices, log in columns]
    order = sorted(range(len(scores)), key=lambda i: scores[i] if maximize else -scores[i])
    parts = []
    for rank, i in enumerate(order, 1):
        points = (f"{x:.1f} {y(column[1][i]):.1f}" for x, column, (y, _) in zip(places, columns, axes, strict=True))
        kind, style = "trial best" if rank == len(order) else "trial", f"opacity:{0.15 + 0.6 * rank / len(order):.2f}"
        parts.append(path(kind, f"M{'L'.join(points)}", short(scores[i]), style))
    for k, (x, (name, *_), (_, labels)) in enumerate(zip(places, columns, axes, strict=True)):
        parts.append(path("axis", f"M{x:.1f} {top}V{height - bottom}"))
        parts.append(text("name middle", x, 18 + 14 * (k % 2), name.rsplit(".", 1)[-1], name))
        parts += [text("tick halo", x + 4, y + 4, label) for y, label in labels]
    return svg("parallel coordinates", height, parts, width, f"width:{width}px")


def _vertical(
    values: list[float], choices: list[str], log: bool, top: float, bottom: float
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """A function from a value to its y coordinate on one vertical axis, and the axis labels."""
    low, high = (0.0, len(choices) - 1.0) if choices else (min(values), max(values))
    scale = math.log if log else float

    def position(value: float) -> float:
        return bottom - (0.5 if high == low else (scale(value) - scale(low)) / (scale(high) - scale(low))) * (
            bottom - top
        )

    if choices:
        return position, [(position(i), choice) for i, choice in enumerate(choices)]
    return position, [(position(v), short(v)) for v in dict.fromkeys((low, high))]

"""Parallel coordinates of a search's trials."""

import math
from collections.abc import Callable, Sequence
from html import escape

from raykd.reports.drawing.axes import WIDTH, short


def parallel(fields: Sequence[tuple[str, list[float], list[str], bool]], scores: list[float], maximize: bool) -> str:
    """Parallel coordinates: one line for each trial over its fields (name, values, choices, log) and its metric."""
    columns = [*fields, ("metric", scores, [], False)]
    width, height, top, bottom = max(WIDTH, 124 * len(columns)), 280, 44, 26
    places = [52 + i * (width - 104) / (len(columns) - 1) for i in range(len(columns))]
    axes = [_vertical(values, choices, log, top, height - bottom) for _, values, choices, log in columns]
    order = sorted(range(len(scores)), key=lambda i: scores[i] if maximize else -scores[i])
    parts = [
        f'<svg viewBox="0 0 {width} {height}" style="width:{width}px" role="img" aria-label="parallel coordinates">'
    ]
    for rank, i in enumerate(order):
        track = "L".join(
            f"{x:.1f} {y(column[1][i]):.1f}" for x, column, (y, _) in zip(places, columns, axes, strict=True)
        )
        look = "best" if rank == len(order) - 1 else ""
        share = (rank + 1) / len(order)
        style = f"opacity:{0.15 + 0.6 * share:.2f}"
        tip = f"<title>{short(scores[i])}</title>"
        parts.append(f'<path class="trial {look}" style="{style}" d="M{track}">{tip}</path>')
    for k, (x, (name, *_), (_, labels)) in enumerate(zip(places, columns, axes, strict=True)):
        parts.append(f'<path class="axis" d="M{x:.1f} {top}V{height - bottom}"/>')
        shown = name.rsplit(".", 1)[-1]
        position = f'x="{x:.1f}" y="{18 + 14 * (k % 2)}"'
        parts.append(f'<text class="name middle" {position}>{escape(shown)}<title>{escape(name)}</title></text>')
        for y, label in labels:
            parts.append(f'<text class="tick halo" x="{x + 4:.1f}" y="{y + 4:.1f}">{escape(label)}</text>')
    return "".join([*parts, "</svg>"])


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

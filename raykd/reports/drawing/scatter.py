"""Scatter plots: accuracy against cost."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from raykd.reports.drawing.axes import (
    BOTTOM,
    CHARACTER,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Axes,
    clipped,
    padded,
    percent,
    short,
)
from raykd.reports.drawing.series import labelled, look

MOST_NAME = 130  # pixels of a label beside its point


class Point(NamedTuple):
    """A point of a scatter plot."""

    name: str
    x: float
    y: float
    deviation: float  # of y, nan where unknown


def scatter(points: Sequence[Point], *, x_label: str, y_label: str) -> str:
    """Points with their deviation, y in percent; x on a log axis if it spans a factor of ten."""
    points = [point for point in points if point.x == point.x]
    if not points:
        return ""
    xs, many = [point.x for point in points], labelled(len(points))
    low, high = min(xs), max(xs)
    log = low > 0 and high > 10 * low
    x_range = (low / 1.6, high * 1.6) if log else padded(xs, 0.15)
    edges = [p.y + sign * (p.deviation if p.deviation == p.deviation else 0) for p in points for sign in (-1, 1)]
    height = max(HEIGHT, 16 * len(points) + TOP + BOTTOM) if many else HEIGHT
    axes = Axes(x_range, padded(edges, most=1), x_label=x_label, y_label=y_label, log_x=log, height=height)
    marks = [_mark(axes, point, look(i, len(points)), x_label) for i, point in enumerate(points)]
    return axes.draw("".join(marks + (_names(axes, points) if many else [])), y_format=percent)


def _mark(axes: Axes, point: Point, look: str, x_label: str) -> str:
    x, y = axes.x(point.x), axes.y(point.y)
    tip = f"<title>{escape(point.name)}: {percent(point.y)}, {x_label} {short(point.x)}</title>"
    bar = ""
    if point.deviation > 0:
        top, foot = axes.y(min(point.y + point.deviation, axes.y_range[1])), axes.y(point.y - point.deviation)
        bar = f'<path class="line" d="M{x:.1f} {foot:.1f}V{top:.1f}"/>'
    return f'<g {look}>{tip}{bar}<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="5"/></g>'


def _names(axes: Axes, points: Sequence[Point]) -> list[str]:
    """Each point's label at a position where it overlaps no other label or point, if there is one."""
    taken = [(axes.x(p.x) - 6, axes.y(p.y) - 6, axes.x(p.x) + 6, axes.y(p.y) + 6) for p in points]
    parts = []
    for i, point in enumerate(points):
        text = clipped(point.name, MOST_NAME)
        others = taken[:i] + taken[i + 1 :]
        x, y, box = _place(axes.x(point.x), axes.y(point.y), len(text) * CHARACTER, axes.height - BOTTOM, others)
        taken.append(box)
        label = f'<text class="label halo" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
        parts.append(f"<g {look(i, len(points))}>{label}</g>")
    return parts


Box = tuple[float, float, float, float]


def _place(x: float, y: float, width: float, foot: float, taken: Sequence[Box]) -> tuple[float, float, Box]:
    sides = [(x + 8, y + 4), (x - 8 - width, y + 4), (x - width / 2, y - 9), (x - width / 2, y + 17)]
    sides += [(x + 8, y + 4 + shift) for shift in (-13, 13, -26, 26)]
    boxes = [(left, line - 11, left + width, line + 2) for left, line in sides]
    inside = [i for i, box in enumerate(boxes) if box[0] >= LEFT and box[2] <= WIDTH and box[3] <= foot] or [0]
    free = [i for i in inside if not any(_overlap(boxes[i], other) for other in taken)]
    best = (free or inside)[0]
    return (*sides[best], boxes[best])


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]

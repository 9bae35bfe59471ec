"""Scatter plots: accuracy against cost."""

from collections.abc import Sequence
from typing import NamedTuple

from raykd.reports.drawing.axes import BOTTOM, HEIGHT, LEFT, TOP, Axes, padded, percent, short
from raykd.reports.drawing.svg import CHARACTER, WIDTH, clipped, dot, labelled, path, series, text

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
    marks = [series(i, len(points), *_mark(axes, point, x_label)) for i, point in enumerate(points)]
    return axes.draw(marks + (_names(axes, points) if many else []), y_format=percent)


def _mark(axes: Axes, point: Point, x_label: str) -> tuple[list[str], str]:
    """The marks of a point, and its tool tip."""
    x, marks = axes.x(point.x), []
    if point.deviation > 0:
        top, foot = axes.y(min(point.y + point.deviation, axes.y_range[1])), axes.y(point.y - point.deviation)
        marks.append(path("line", f"M{x:.1f} {foot:.1f}V{top:.1f}"))
    tip = f"{point.name}: {percent(point.y)}, {x_label} {short(point.x)}"
    return [*marks, dot(x, axes.y(point.y), 5)], tip


def _names(axes: Axes, points: Sequence[Point]) -> list[str]:
    """Each point's label at a position where it overlaps no other label or point, if there is one."""
    taken = [(axes.x(p.x) - 6, axes.y(p.y) - 6, axes.x(p.x) + 6, axes.y(p.y) + 6) for p in points]
    labels = []
    for i, point in enumerate(points):
        name = clipped(point.name, MOST_NAME)
        others = taken[:i] + taken[i + 1 :]
        x, y, box = _place(axes.x(point.x), axes.y(point.y), len(name) * CHARACTER, axes.height - BOTTOM, others)
        taken.append(box)
        labels.append(series(i, len(points), [text("label halo", x, y, name)]))
    return labels


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

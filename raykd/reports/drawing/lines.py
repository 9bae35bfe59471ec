"""Curves over epochs, and accuracy against confidence."""

import math
from collections.abc import Callable, Sequence

from raykd.reports.drawing.axes import BOTTOM, HEIGHT, RIGHT, TOP, Axes, padded, percent, short, spread_out
from raykd.reports.drawing.curves import Curve
from raykd.reports.drawing.svg import CHARACTER, WIDTH, clipped, dot, labelled, path, series, text

START = 0.2  # share of the epochs whose values may lie below the frame, so that the end can be told apart
LINE = 14  # pixels between two labels


def lines(
    curves: Sequence[Curve],
    *,
    y_label: str,
    y_format: Callable = short,
    most: float = math.inf,
    reference: tuple[str, float] | None = None,
    from_start: bool = True,
) -> str:
    """Curves over epochs, with minimum and maximum over seeds as a band; labelled at their ends if there are many.

    most: upper limit of the axis. reference: label and value of a horizontal line, such as a teacher's accuracy.
    from_start: False: values of the first epochs may be below the frame.
    """
    curves = [curve for curve in curves if curve.epochs]
    if not curves:
        return ""
    epochs = [epoch for curve in curves for epoch in curve.epochs]
    values = _values(curves, max(epochs), from_start) + ([reference[1]] if reference else [])
    many = labelled(len(curves))
    longest = max(len(curve.name) for curve in curves)
    axes = Axes(
        (min(epochs), max(epochs)),
        padded(values, most=most),
        x_label="epoch",
        y_label=y_label,
        whole_x=True,
        height=max(HEIGHT, LINE * len(curves) + TOP + BOTTOM) if many else HEIGHT,
        right=min(150, longest * CHARACTER + 16) if many else RIGHT,
    )
    marks = _reference(axes, *reference, y_format) if reference else []
    marks += [series(i, len(curves), *_curve(axes, curve, y_format)) for i, curve in enumerate(curves)]
    return axes.draw(marks + (_end_labels(axes, curves) if many else []), y_format=y_format)


def _values(curves: Sequence[Curve], end: float, from_start: bool) -> list[float]:
    """The values that the frame must contain: all, or those after the first epochs."""
    first = 0.0 if from_start else START * end
    return [
        v for c in curves for e, *pair in zip(c.epochs, c.low, c.high) if e >= first or e == c.epochs[-1] for v in pair
    ]


def _curve(axes: Axes, curve: Curve, y_format: Callable) -> tuple[list[str], str]:
    """The marks of a curve, and its tool tip."""
    marks = []
    if curve.low != curve.high:
        outline = f"M{axes.path(curve.epochs, curve.high)}L{axes.path(curve.epochs[::-1], curve.low[::-1])}Z"
        marks.append(path("band", outline))
    marks.append(path("line", f"M{axes.path(curve.epochs, curve.mean)}"))
    marks.append(dot(axes.x(curve.epochs[-1]), axes.y(curve.mean[-1]), 3))
    return marks, f"{curve.name}: {y_format(curve.mean[-1])} at epoch {curve.epochs[-1]:g}"


def _end_labels(axes: Axes, curves: Sequence[Curve]) -> list[str]:
    ends = [axes.y(curve.mean[-1]) for curve in curves]
    places = spread_out(ends, LINE, TOP, axes.height - BOTTOM)
    left = WIDTH - axes.right
    labels = []
    for i, (curve, y) in enumerate(zip(curves, places, strict=True)):
        leader = path("leader", f"M{axes.x(curve.epochs[-1]):.1f} {ends[i]:.1f}L{left + 8:.0f} {y:.1f}")
        label = text("label", left + 10, y + 4, clipped(curve.name, axes.right - 12))
        labels.append(series(i, len(curves), [leader, label]))
    return labels


def _reference(axes: Axes, name: str, value: float, y_format: Callable) -> list[str]:
    y, left = axes.y(value), axes.x(axes.x_range[0])
    foot = y - 4 if y > TOP + 12 else y + 13
    line = path("reference", f"M{left:.1f} {y:.1f}H{WIDTH - axes.right:.0f}")
    return [line, text("tick halo", left + 4, foot, f"{name} {y_format(value)}")]


def reliability(bins: Sequence[tuple[int, float, float]]) -> str:
    """Reliability diagram: accuracy against confidence; a dot's area is proportional to the bin's number of images."""
    axes = Axes((0, 1), (0, 1), x_label="confidence", y_label="accuracy")
    largest = max(count for count, *_ in bins)
    marks = [path("line", f"M{axes.path([c for _, c, _ in bins], [a for *_, a in bins])}")]
    for count, confidence, accuracy in bins:
        tip = f"{count} images: confidence {percent(confidence)}, accuracy {percent(accuracy)}"
        marks.append(dot(axes.x(confidence), axes.y(accuracy), 2 + 5 * math.sqrt(count / largest), tip))
    diagonal = path("grid diagonal", f"M{axes.path((0, 1), (0, 1))}")
    return axes.draw([diagonal, series(0, 1, marks)], x_format=percent, y_format=percent)

"""Curves over epochs, and accuracy against confidence."""

import math
from collections.abc import Callable, Sequence
from html import escape

from raykd.reports.drawing.axes import (
    BOTTOM,
    CHARACTER,
    HEIGHT,
    RIGHT,
    TOP,
    WIDTH,
    Axes,
    clipped,
    padded,
    percent,
    short,
    spread_out,
)
from raykd.reports.drawing.curves import Curve
from raykd.reports.drawing.series import labelled, look

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
    parts = [_reference(axes, *reference, y_format)] if reference else []
    parts += [_curve(axes, curve, look(i, len(curves)), y_format) for i, curve in enumerate(curves)]
    parts += _end_labels(axes, curves) if many else []
    return axes.draw("".join(parts), y_format=y_format)


def _values(curves: Sequence[Curve], end: float, from_start: bool) -> list[float]:
    """The values that the frame must contain: all, or those after the first epochs."""
    first = 0.0 if from_start else START * end
    return [
        v for c in curves for e, *pair in zip(c.epochs, c.low, c.high) if e >= first or e == c.epochs[-1] for v in pair
    ]


def _curve(axes: Axes, curve: Curve, look: str, y_format: Callable) -> str:
    band = ""
    if curve.low != curve.high:
        outline = f"M{axes.path(curve.epochs, curve.high)}L{axes.path(curve.epochs[::-1], curve.low[::-1])}Z"
        band = f'<path class="band" d="{outline}"/>'
    tip = f"<title>{escape(curve.name)}: {escape(y_format(curve.mean[-1]))} at epoch {curve.epochs[-1]:g}</title>"
    position = f'cx="{axes.x(curve.epochs[-1]):.1f}" cy="{axes.y(curve.mean[-1]):.1f}"'
    line = f'<path class="line" d="M{axes.path(curve.epochs, curve.mean)}"/>'
    return f'<g {look}>{tip}{band}{line}<circle class="dot" {position} r="3"/></g>'


def _end_labels(axes: Axes, curves: Sequence[Curve]) -> list[str]:
    ends = [axes.y(curve.mean[-1]) for curve in curves]
    places = spread_out(ends, LINE, TOP, axes.height - BOTTOM)
    left = WIDTH - axes.right
    parts = []
    for i, (curve, y) in enumerate(zip(curves, places, strict=True)):
        end = f"{axes.x(curve.epochs[-1]):.1f} {ends[i]:.1f}L{left + 8:.0f} {y:.1f}"
        text = escape(clipped(curve.name, axes.right - 12))
        label = f'<text class="label" x="{left + 10:.0f}" y="{y + 4:.1f}">{text}</text>'
        parts.append(f'<g {look(i, len(curves))}><path class="leader" d="M{end}"/>{label}</g>')
    return parts


def _reference(axes: Axes, name: str, value: float, y_format: Callable) -> str:
    y, left = axes.y(value), axes.x(axes.x_range[0])
    line = f'<path class="reference" d="M{left:.1f} {y:.1f}H{WIDTH - axes.right:.0f}"/>'
    text = escape(f"{name} {y_format(value)}")
    foot = y - 4 if y > TOP + 12 else y + 13
    return f'{line}<text class="tick halo" x="{left + 4:.0f}" y="{foot:.1f}">{text}</text>'


def reliability(bins: Sequence[tuple[int, float, float]]) -> str:
    """Reliability diagram: accuracy against confidence; a dot's area is proportional to the bin's number of images."""
    axes = Axes((0, 1), (0, 1), x_label="confidence", y_label="accuracy")
    largest = max(count for count, *_ in bins)
    diagonal = f'<path class="grid diagonal" d="M{axes.path((0, 1), (0, 1))}"/>'
    track = axes.path([c for _, c, _ in bins], [a for *_, a in bins])
    parts = [diagonal, f'<g class="c0"><path class="line" d="M{track}"/>']
    for count, confidence, accuracy in bins:
        tip = f"<title>{count} images: confidence {percent(confidence)}, accuracy {percent(accuracy)}</title>"
        position = (
            f'cx="{axes.x(confidence):.1f}" cy="{axes.y(accuracy):.1f}" r="{2 + 5 * math.sqrt(count / largest):.1f}"'
        )
        parts.append(f'<circle class="dot" {position}>{tip}</circle>')
    return axes.draw("".join([*parts, "</g>"]), x_format=percent, y_format=percent)

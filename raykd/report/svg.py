"""Figures as inline SVG: crisp at any size, coloured by the page's style sheet (so dark mode and print reach them).

Each is drawn at the width of a phone and tiled on wider screens, so that its text is never scaled down.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

from raykd.report.measures import Curve

WIDTH, HEIGHT = 372, 248
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40
COLOURS = 8  # classes c0 … c7 of the style sheet; later series are dashed


def percent(value: float) -> str:
    return f"{100 * value:.4g} %"


def short(value: float) -> str:
    """A number for an axis: 0.02, 35, 1.2k, 3.4M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def colour(index: int) -> str:
    """Classes of the index-th series."""
    return f"c{index % COLOURS}" + (" dashed" if index >= COLOURS else "")


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values that span [low, high], about `count` of them."""
    if high <= low:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    raw = (high - low) / max(count - 1, 1)
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


class Axes:
    """A frame with ticks; `x` and `y` turn values into places."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], *, x_label: str, y_label: str, log_x: bool = False):
        self.log_x = log_x and min(xs) > 0 and max(xs) > min(xs)
        self.x_label, self.y_label = x_label, y_label
        self.y_ticks = nice_ticks(min(ys), max(ys))
        self.x_ticks = _log_ticks(min(xs), max(xs)) if self.log_x else nice_ticks(min(xs), max(xs))
        self.x_range = (self.x_ticks[0], self.x_ticks[-1])
        if not self.log_x and len(set(xs)) > 1:  # curves begin and end at the frame
            self.x_range = (min(xs), max(xs))
            self.x_ticks = [tick for tick in self.x_ticks if min(xs) <= tick <= max(xs)]
        self.y_range = (self.y_ticks[0], self.y_ticks[-1])

    def x(self, value: float) -> float:
        low, high = self.x_range
        share = math.log(value / low) / math.log(high / low) if self.log_x else (value - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def draw(self, inside: str, x_format: Callable = short, y_format: Callable = short, title: str = "") -> str:
        parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title or self.y_label)}">']
        for tick in self.y_ticks:
            y = self.y(tick)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(f'<text class="tick end" x="{LEFT - 6}" y="{y + 4:.1f}">{escape(y_format(tick))}</text>')
        for tick in self.x_ticks:
            place = f'x="{self.x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}"'
            parts.append(f'<text class="tick middle" {place}>{escape(x_format(tick))}</text>')
        parts.append(f'<path class="axis" d="M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text class="name middle" x="{middle}" y="{HEIGHT - 6}">{escape(self.x_label)}</text>')
        return "".join([*parts, inside, "</svg>"])


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 × powers of ten around [low, high], thinned to at most six."""
    ticks = [
        m * 10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)
    ]
    first = max(i for i, tick in enumerate(ticks) if tick <= low * 1.001)
    last = min((i for i, tick in enumerate(ticks) if tick >= high * 0.999), default=len(ticks) - 1)
    ticks = ticks[first : last + 1]
    step = math.ceil(len(ticks) / 6)
    return ticks if step == 1 else [*ticks[:-1][::step], ticks[-1]]


def lines(curves: Sequence[Curve], y_format: Callable = short, y_label: str = "", first_colour: int = 0) -> str:
    """Curves over epochs, with the least and most of the seeds as a band."""
    curves = [curve for curve in curves if curve.epochs]
    if not curves:
        return ""
    xs = [epoch for curve in curves for epoch in curve.epochs]
    axes = Axes(xs, [v for c in curves for v in (*c.low, *c.high)], x_label="epoch", y_label=y_label)
    parts = [_curve(axes, c, colour(first_colour + i), y_format) for i, c in enumerate(curves)]
    return axes.draw("".join(parts), y_format=y_format, title=f"{y_label} over epochs")


def _curve(axes: Axes, curve: Curve, look: str, y_format: Callable) -> str:
    def path(values: Sequence[float], epochs: Sequence[float]) -> str:
        return "L".join(f"{axes.x(e):.1f} {axes.y(v):.1f}" for e, v in zip(epochs, values, strict=True))

    band = ""
    if curve.low != curve.high:
        outline = f"M{path(curve.high, curve.epochs)}L{path(curve.low[::-1], curve.epochs[::-1])}Z"
        band = f'<path class="band {look}" d="{outline}"/>'
    tip = f"<title>{escape(curve.name)}: {escape(y_format(curve.mean[-1]))} at epoch {short(curve.epochs[-1])}</title>"
    place = f'cx="{axes.x(curve.epochs[-1]):.1f}" cy="{axes.y(curve.mean[-1]):.1f}"'
    end = f'<circle class="dot {look}" {place} r="3">{tip}</circle>'
    return f'{band}<path class="line {look}" d="M{path(curve.mean, curve.epochs)}">{tip}</path>{end}'


def scatter(points: Sequence[tuple[str, float, float, float]], *, x_label: str, y_label: str) -> str:
    """(name, x, y, deviation of y) as labelled points, y as a percentage; x on a log axis where it spans much."""
    xs, ys = [p[1] for p in points], [p[2] for p in points]
    spans = [d if d == d else 0.0 for *_, d in points]
    low, high = min(xs), max(xs)
    log = low > 0 and high > 10 * low
    reach = (
        [low / 1.6, high * 1.6]
        if log
        else [low - 0.15 * (high - low or low or 1), high + 0.15 * (high - low or low or 1)]
    )
    edges = [y + s for y, s in zip(ys, spans, strict=True)] + [y - s for y, s in zip(ys, spans, strict=True)]
    axes = Axes(reach, edges, x_label=x_label, y_label=y_label, log_x=log)
    parts = []
    for i, ((name, x, y, _), span) in enumerate(zip(points, spans, strict=True)):
        px, py, look = axes.x(x), axes.y(y), colour(i)
        if span:
            parts.append(f'<path class="line {look}" d="M{px:.1f} {axes.y(y - span):.1f}V{axes.y(y + span):.1f}"/>')
        tip = f"<title>{escape(name)}: {percent(y)}, {x_label} {short(x)}</title>"
        parts.append(f'<circle class="dot {look}" cx="{px:.1f}" cy="{py:.1f}" r="5">{tip}</circle>')
    return axes.draw("".join(parts), y_format=percent, title=f"{y_label} against {x_label}")


def reliability(bins: Sequence[tuple[int, float, float]], index: int) -> str:
    """Accuracy against confidence; the diagonal is perfect calibration, a dot's area grows with the bin's images."""
    axes = Axes([0, 1], [0, 1], x_label="confidence", y_label="accuracy")
    most = max(count for count, *_ in bins)
    parts = [f'<path class="grid diagonal" d="M{axes.x(0)} {axes.y(0)}L{axes.x(1)} {axes.y(1)}"/>']
    track = "L".join(f"{axes.x(c):.1f} {axes.y(a):.1f}" for _, c, a in bins)
    parts.append(f'<path class="line {colour(index)}" d="M{track}"/>')
    for count, confidence, accuracy in bins:
        radius = 2 + 5 * math.sqrt(count / most)
        tip = f"<title>{count} images: confidence {percent(confidence)}, accuracy {percent(accuracy)}</title>"
        place = f'cx="{axes.x(confidence):.1f}" cy="{axes.y(accuracy):.1f}" r="{radius:.1f}"'
        parts.append(f'<circle class="dot {colour(index)}" {place}>{tip}</circle>')
    return axes.draw("".join(parts), x_format=percent, y_format=percent, title="accuracy against confidence")


def parallel(fields: Sequence[tuple[str, list[float], list[str], bool]], scores: list[float], maximize: bool) -> str:
    """Parallel coordinates: a line a trial over its fields (name, values, choices, log) to its metric."""
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
        place = f'x="{x:.1f}" y="{18 + 14 * (k % 2)}"'
        parts.append(f'<text class="name middle" {place}>{escape(shown)}<title>{escape(name)}</title></text>')
        for y, label in labels:
            parts.append(f'<text class="tick halo" x="{x + 4:.1f}" y="{y + 4:.1f}">{escape(label)}</text>')
    return "".join([*parts, "</svg>"])


def _vertical(values: list[float], choices: list[str], log: bool, top: float, bottom: float):
    """Value to height of one vertical axis, and its labels."""
    low, high = (0.0, len(choices) - 1.0) if choices else (min(values), max(values))
    scale = math.log if log else float

    def place(value: float) -> float:
        return bottom - (0.5 if high == low else (scale(value) - scale(low)) / (scale(high) - scale(low))) * (
            bottom - top
        )

    if choices:
        return place, [(place(i), choice) for i, choice in enumerate(choices)]
    return place, [(place(v), short(v)) for v in dict.fromkeys((low, high))]

"""The axes of a figure: ticks, grid, labels, and the coordinates of values."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from raykd.reports.drawing.svg import WIDTH, path, svg, text

HEIGHT = 248
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40


def percent(value: float) -> str:
    return f"{100 * value:.4g} %"


def short(value: float) -> str:
    """A number for an axis: 0.02, 35, 1.2k, 3.4M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def nice_ticks(low: float, high: float, *, count: int = 5, whole: bool = False) -> list[float]:
    """About `count` round values within [low, high]. whole: only whole numbers."""
    if high <= low:
        return [low]
    unit = 10 ** math.floor(math.log10((high - low) / count))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if (high - low) / (unit * m) <= count + 0.5)
    if whole:
        step = math.ceil(step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 × powers of ten within [low, high], thinned to at most six."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**e for e in powers for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    return ticks[:: math.ceil(len(ticks) / 6) or 1] or [low]


@dataclass
class Axes:
    """Axes with ticks; `x` and `y` map values to coordinates."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_label: str
    y_label: str
    log_x: bool = False
    whole_x: bool = False
    height: int = HEIGHT
    right: float = RIGHT

    def __post_init__(self) -> None:
        self.x_range, self.y_range = _widened(self.x_range), _widened(self.y_range)

    def x(self, value: float) -> float:
        low, high = self.x_range
        share = math.log(value / low) / math.log(high / low) if self.log_x else (value - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - self.right)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM)

    def path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        """SVG path data of a line through points; values below the frame are drawn at its lower edge."""
        floor = self.y_range[0]
        return "L".join(f"{self.x(x):.1f} {self.y(max(y, floor)):.1f}" for x, y in zip(xs, ys, strict=True))

    def draw(self, marks: Iterable[str], *, x_format: Callable = short, y_format: Callable = short) -> str:
        """The figure with its marks."""
        foot, end = self.height - BOTTOM, WIDTH - self.right
        parts = []
        for tick in nice_ticks(*self.y_range):
            y = self.y(tick)
            parts += [path("grid", f"M{LEFT} {y:.1f}H{end:.0f}"), text("tick end", LEFT - 6, y + 4, y_format(tick))]
        x_ticks = log_ticks(*self.x_range) if self.log_x else nice_ticks(*self.x_range, whole=self.whole_x)
        parts += [text("tick middle", self.x(tick), foot + 16, x_format(tick)) for tick in x_ticks]
        parts.append(path("axis", f"M{LEFT} {foot}H{end:.0f}"))
        parts.append(text("name middle", (LEFT + end) / 2, self.height - 6, self.x_label))
        return svg(f"{self.y_label} by {self.x_label}", self.height, [*parts, *marks])


def _widened(span: tuple[float, float]) -> tuple[float, float]:
    """The range, widened if it is empty."""
    low, high = span
    return span if high > low else (low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5))


def padded(values: Sequence[float], share: float = 0.06, most: float = math.inf) -> tuple[float, float]:
    """The values' range with a margin; its upper end is at most `most`."""
    low, high = min(values), max(values)
    margin = share * (high - low)
    return low - margin, max(high, min(high + margin, most))


def spread_out(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions moved to be at least `gap` apart within [low, high], as far as they fit; the order is kept."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    spread = [0.0] * len(places)
    floor = low
    for i in order:
        spread[i] = max(places[i], floor)
        floor = spread[i] + gap
    ceiling = high
    for i in reversed(order):
        spread[i] = min(spread[i], ceiling)
        ceiling = spread[i] - gap
    return spread

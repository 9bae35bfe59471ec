"""Group growth: how a step's time grows with teachers K, branches m, classes C and batch B: at most linearly.

CPU time of whole steps of raykd's loop with small networks on one thread, the minimum of interleaved repetitions.
`exponent` is p in time − time at the smallest x = b (x − smallest x)^p, fitted by least squares to the logarithms and
weighted by the growth: 1 is linear, whatever the constant part, 2 is quadratic. `slope` is that of the logarithm of the
whole time between the two largest x. It takes 2 to 3 minutes; --plot FILE.svg also draws a figure.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from raykd.methods.aekd import AEKD
from raykd.methods.ca_mkd import CAMKD
from raykd.methods.dist import DIST
from raykd.methods.kd import KD
from raykd.methods.okddip import OKDDip
from raykd.methods.one import ONE
from raykd.methods.supervised import Supervised
from raykd.reports.drawing.axes import HEIGHT, LEFT, TOP, Axes
from raykd.reports.drawing.svg import WIDTH
from tests.bench.step import CASES, CLASSES, Case, only_ours
from tests.bench.timing import in_turns, threads

NETWORK, BATCH, SECONDS = "resnet8", 32, 15.0
FEATURES = CAMKD.Config(logits_only_epochs=0.0)  # with the term of the features from the first step on


@dataclass(frozen=True)
class Series:
    """One method with one growing quantity: a case and the number of classes for each of its values."""

    method: str
    what: str
    cases: dict[int, tuple[Case, int]]


def _taught(config, teachers: int = 1, batch: int = BATCH) -> Case:
    return replace(CASES["aver_mkd"], config=config, student=NETWORK, teachers=(NETWORK,) * teachers, batch=batch)


def _peers(config, batch: int = BATCH) -> Case:
    return replace(CASES["okddip"], config=config, student=NETWORK, batch=batch)


def series() -> Iterator[Series]:
    for name, config in (("CAMKD", FEATURES), ("AEKD", AEKD.Config())):
        yield Series(name, "teachers K", {k: (_taught(config, k), CLASSES) for k in (2, 3, 4, 6, 8)})
    for method in (OKDDip, ONE):
        cases = {m: (_peers(method.Config(branches=m)), CLASSES) for m in (2, 3, 4, 6, 8)}
        yield Series(method.__name__, "branches m", cases)
    for name, config, count in (("KD", KD.Config(), 1), ("CAMKD", FEATURES, 3), ("DIST", DIST.Config(), 1)):
        yield Series(name, "classes C", {c: (_taught(config, count), c) for c in (10, 100, 1000, 3000, 10_000)})
    sizes = (16, 32, 64, 128, 256)
    yield Series("OKDDip", "batch B", {b: (_peers(OKDDip.Config(), b), CLASSES) for b in sizes})
    yield Series("Supervised", "batch B", {b: (_taught(Supervised.Config(), 0, b), CLASSES) for b in sizes})
    yield Series("CAMKD", "batch B", {b: (_taught(FEATURES, 3, b), CLASSES) for b in sizes})


def rows(plot: Path | None = None) -> Iterator[dict]:
    found: dict[tuple[str, str], dict[int, float]] = {}
    with threads(1):
        for one in series():
            times = found[one.what, one.method] = measured(one)
            said = ", ".join(f"{x}: {1e3 * seconds:.1f}" for x, seconds in times.items())
            about = {"grown": one.what, "method": one.method, "exponent": f"{exponent(times):.2f}"}
            yield about | {"slope": f"{slope(times):.2f}", "CPU ms a step": said}
    if plot is not None:
        draw(found, plot)


def measured(one: Series) -> dict[int, float]:
    """CPU seconds of a step for each value, the minimum of as many repetitions as the time allows, 5 to 50."""
    calls: dict[str, Callable] = {str(x): only_ours(case, classes) for x, (case, classes) in one.cases.items()}
    start = time.perf_counter()
    in_turns(calls, 1, warm=1)
    repetitions = int(SECONDS / (time.perf_counter() - start) * 2)
    timed = in_turns(calls, max(5, min(repetitions, 50)), warm=0)
    return {x: min(timed[str(x)].cpu) for x in one.cases}


def exponent(times: dict[int, float]) -> float:
    """The exponent (see above); NaN unless two x take at least 1 % longer than the smallest: less is noise."""
    (x0, t0), *others = sorted(times.items())
    points = [(math.log(x - x0), math.log(t - t0), t - t0) for x, t in others if t > 1.01 * t0]
    if len(points) < 2:
        return math.nan
    total = sum(w for *_, w in points)
    x_mean, y_mean = (sum(p[i] * p[2] for p in points) / total for i in (0, 1))
    return sum(w * (x - x_mean) * (y - y_mean) for x, y, w in points) / sum(w * (x - x_mean) ** 2 for x, _, w in points)


def draw(found: dict[tuple[str, str], dict[int, float]], file: Path) -> None:
    """A figure for each growing quantity: time relative to the smallest, with a dashed straight line between the ends.

    A curve below its dashed line grows more than linearly.
    """
    panels = []
    for what in dict.fromkeys(what for what, _ in found):
        curves = {method: times for (grown, method), times in found.items() if grown == what}
        panels.append(_panel(what, curves))
    height = HEIGHT * math.ceil(len(panels) / 2)
    placed = [
        f'<svg x="{i % 2 * WIDTH}" y="{i // 2 * HEIGHT}" width="{WIDTH}" height="{HEIGHT}">{panel}</svg>'
        for i, panel in enumerate(panels)
    ]
    size = f'width="{2 * WIDTH}" height="{height}" viewBox="0 0 {2 * WIDTH} {height}"'
    style = f'<style>{STYLE}</style><rect width="100%" height="100%" fill="white"/>'
    file.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{style}{"".join(placed)}</svg>')


STYLE = (
    "text{font:11px sans-serif;fill:#444}.middle{text-anchor:middle}.end{text-anchor:end}"
    ".grid{stroke:#ddd}.axis{stroke:#444}.line{fill:none!important;stroke-width:1.6}"
    ".line.dashed{stroke-dasharray:3 4;stroke-width:1}"
) + "".join(f".c{i}{{stroke:{c};fill:{c}}}" for i, c in enumerate(("#1f5fa8", "#c2571a", "#2d7d46")))


def _panel(what: str, curves: dict[str, dict[int, float]]) -> str:
    shares = {name: {x: t / min(times.values()) for x, t in times.items()} for name, times in curves.items()}
    xs, ys = ([v for share in shares.values() for v in side(share)] for side in (dict.keys, dict.values))
    axes = Axes((min(xs), max(xs)), (0.0, max(ys)), x_label=what, y_label="time of a step")
    inside = []
    for i, (name, share) in enumerate(shares.items()):
        points = [f"{axes.x(x):.1f} {axes.y(y):.1f}" for x, y in share.items()]
        inside.append(f'<path class="line c{i}" d="M{"L".join(points)}"/>')
        inside.append(f'<path class="line c{i} dashed" d="M{points[0]}L{points[-1]}"/>')
        inside += [f'<circle class="c{i}" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3"/>' for x, y in share.items()]
        inside.append(f'<text class="c{i}" style="stroke:none" x="{LEFT + 10}" y="{TOP + 14 + 14 * i}">{name}</text>')
    return axes.draw(inside, y_format=lambda y: f"{y:g}×")


def slope(times: dict[int, float]) -> float:
    """d log time / d log x between the two largest x."""
    (x0, t0), (x1, t1) = sorted(times.items())[-2:]
    return math.log(t1 / t0) / math.log(x1 / x0)

"""Critical-difference diagram (Demšar 2006): rows by average rank, with bars over those that don't differ.

Demšar's diagram rotated by 90 degrees, so that twenty names fit a phone.
"""

from collections.abc import Sequence

from raykd.reports.drawing.axes import nice_ticks
from raykd.reports.drawing.svg import WIDTH, clipped, dot, path, svg, text
from raykd.reports.tables.statistics import Ranking, cliques

LINE, TOP, NAMES, BAR = 18, 46, 140, 8


def critical_difference(names: Sequence[str], ranking: Ranking) -> str:
    """The diagram, from the best to the worst average rank."""
    order = sorted(range(len(names)), key=lambda i: ranking.average[i])
    ranks = [ranking.average[i] for i in order]
    bars = cliques(ranking)
    right = WIDTH - 14 - BAR * len(bars)
    x = lambda rank: NAMES + 10 + (rank - 1) / (len(names) - 1) * (right - NAMES - 10)  # noqa: E731
    height = TOP + LINE * len(names) + 6
    parts = []
    for tick in dict.fromkeys([1, *nice_ticks(1, len(names), whole=True)]):
        parts += [text("tick middle", x(tick), 36, f"{tick:g}"), path("grid", f"M{x(tick):.1f} 41V{height - 6}")]
    end = min(x(1 + ranking.distance), WIDTH - 14)
    parts.append(path("line", f"M{x(1):.1f} 12V20M{x(1):.1f} 16H{end:.1f}M{end:.1f} 12V20"))
    parts.append(text("name end", x(1) - 6, 20, f"critical difference {ranking.distance:.2f}"))
    for line, (i, rank) in enumerate(zip(order, ranks, strict=True)):
        y, tip = TOP + LINE * (line + 0.5), f"{names[i]}: {rank:.2f}"
        parts.append(text("name end", NAMES, y + 4, clipped(names[i], NAMES), tip))
        parts.append(path("leader", f"M{NAMES + 6} {y:.1f}H{x(rank):.1f}"))
        parts.append(dot(x(rank), y, 4, tip, "dot c0"))
    for i, (low, high) in enumerate(bars):
        first, last = ranks.index(low), len(ranks) - 1 - ranks[::-1].index(high)
        top, foot = TOP + LINE * (first + 0.2), TOP + LINE * (last + 0.8)
        parts.append(path("clique", f"M{right + BAR * (i + 1)} {top:.1f}V{foot:.1f}"))
    return svg("average ranks with critical difference", height, parts)

"""Critical-difference diagram (Demšar 2006): rows by average rank, with bars over those that don't differ.

Demšar's diagram rotated by 90 degrees, so that twenty names fit a phone.
"""

from collections.abc import Sequence
from html import escape

from raykd.reports.drawing.axes import WIDTH, clipped, nice_ticks
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
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="average ranks with critical difference">']
    for tick in dict.fromkeys([1, *nice_ticks(1, len(names), whole=True)]):
        parts.append(f'<text class="tick middle" x="{x(tick):.1f}" y="36">{tick:g}</text>')
        parts.append(f'<path class="grid" d="M{x(tick):.1f} 41V{height - 6}"/>')
    end = min(x(1 + ranking.distance), WIDTH - 14)
    parts.append(f'<path class="line" d="M{x(1):.1f} 12V20M{x(1):.1f} 16H{end:.1f}M{end:.1f} 12V20"/>')
    parts.append(f'<text class="name end" x="{x(1) - 6:.1f}" y="20">critical difference {ranking.distance:.2f}</text>')
    for line, (i, rank) in enumerate(zip(order, ranks, strict=True)):
        y = TOP + LINE * (line + 0.5)
        tip = f"<title>{escape(names[i])}: {rank:.2f}</title>"
        parts.append(
            f'<text class="name end" x="{NAMES}" y="{y + 4:.1f}">{escape(clipped(names[i], NAMES))}{tip}</text>'
        )
        parts.append(f'<path class="leader" d="M{NAMES + 6} {y:.1f}H{x(rank):.1f}"/>')
        parts.append(f'<circle class="dot c0" cx="{x(rank):.1f}" cy="{y:.1f}" r="4">{tip}</circle>')
    for i, (low, high) in enumerate(bars):
        first, last = ranks.index(low), len(ranks) - 1 - ranks[::-1].index(high)
        position = f"M{right + BAR * (i + 1):.0f} {TOP + LINE * (first + 0.2):.1f}V{TOP + LINE * (last + 0.8):.1f}"
        parts.append(f'<path class="clique" d="{position}"/>')
    return "".join([*parts, "</svg>"])

"""Elements of figures as inline SVG, coloured by the page's style sheet, so that they follow dark mode and print.

Figures are drawn at the width of a phone, so that text is never scaled down. They are not drawn by a plotting library:
a page of a thousand runs has over a thousand figures, which must be small. Series have eight fixed colours; for more
series, evenly spaced hues, so that none occurs twice.
"""

from collections.abc import Iterable
from html import escape

from markupsafe import Markup

WIDTH = 372
CHARACTER = 6.4  # pixels, the mean width of a character of the labels
CHOSEN = 8  # colours, classes c0 … c7 of the style sheet


def svg(label: str, height: float, parts: Iterable[str], width: float = WIDTH, style: str = "") -> str:
    """A figure; label: its description for screen readers."""
    about = f'viewBox="0 0 {width} {height}"{_style(style)} role="img" aria-label="{escape(label)}"'
    return f"<svg {about}>{''.join(parts)}</svg>"


def text(kind: str, x: float, y: float, content: str, tip: str = "") -> str:
    """Text whose baseline begins at (x, y). kind: classes of the style sheet."""
    return f'<text class="{kind}" x="{_short(x)}" y="{_short(y)}">{escape(content)}{title(tip)}</text>'


def path(kind: str, data: str, tip: str = "", style: str = "") -> str:
    """A line through SVG path data."""
    return f'<path class="{kind}"{_style(style)} d="{data}">{title(tip)}</path>'


def dot(x: float, y: float, radius: float, tip: str = "", kind: str = "dot") -> str:
    """A disc."""
    return f'<circle class="{kind}" cx="{_short(x)}" cy="{_short(y)}" r="{_short(radius)}">{title(tip)}</circle>'


def series(index: int, count: int, parts: Iterable[str], tip: str = "") -> str:
    """The marks of the index-th of `count` series, in its colour."""
    return f"<g {look(index, count)}>{title(tip)}{''.join(parts)}</g>"


def title(tip: str) -> str:
    """A tool tip."""
    return f"<title>{escape(tip)}</title>" if tip else ""


def _style(declarations: str) -> str:
    return f' style="{declarations}"' if declarations else ""


def _short(number: float) -> str:
    return f"{round(number, 1):g}"


def clipped(name: str, width: float) -> str:
    """A name that fits in a width, cut off with an ellipsis."""
    most = max(4, int(width / CHARACTER))
    return name if len(name) <= most else name[: most - 1] + "…"


def look(index: int, count: int) -> Markup:
    """Attributes of the index-th of `count` series."""
    if count <= CHOSEN:
        return Markup(f'class="c{index}"')
    return Markup(f'class="hue" style="--hue:{360 * index / count:.0f};--step:{index % 2}"')


def labelled(count: int) -> bool:
    """Whether there are too many series for a legend, so that each is labelled in the figure."""
    return count > CHOSEN

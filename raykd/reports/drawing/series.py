"""Colours of series: eight fixed ones; for more series, evenly spaced hues, so that none occurs twice."""

CHOSEN = 8  # classes c0 … c7 of the style sheet


def look(index: int, count: int) -> str:
    """Attributes of the index-th of `count` series."""
    return f'class="{name(index, count)}"{style(index, count)}'


def name(index: int, count: int) -> str:
    return f"c{index}" if count <= CHOSEN else "hue"


def style(index: int, count: int) -> str:
    """The hue and one of two alternating lightnesses, for the class `hue`."""
    if count <= CHOSEN:
        return ""
    return f' style="--hue:{360 * index / count:.0f};--step:{index % 2}"'


def labelled(count: int) -> bool:
    """Whether there are too many series for a legend, so that each is labelled in the figure."""
    return count > CHOSEN

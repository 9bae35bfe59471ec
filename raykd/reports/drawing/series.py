"""Colours of series: eight chosen ones, and where there are more an even round of hues, so that none occurs twice."""

CHOSEN = 8  # classes c0 … c7 of the style sheet


def look(index: int, count: int) -> str:
    """Attributes of the index-th of `count` series."""
    return f'class="{name(index, count)}"{style(index, count)}'


def name(index: int, count: int) -> str:
    return f"c{index}" if count <= CHOSEN else "hue"


def style(index: int, count: int) -> str:
    """The hue, and one of two lightnesses in turn, that the class `hue` reads."""
    if count <= CHOSEN:
        return ""
    return f' style="--hue:{360 * index / count:.0f};--step:{index % 2}"'


def labelled(count: int) -> bool:
    """Whether there are too many series for a legend: they are named where they are drawn."""
    return count > CHOSEN

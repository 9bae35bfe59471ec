"""The epoch line and the progress bar of a run, fitted to the width of the terminal: no number is broken or cut."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

NARROW = 80  # columns below which the bar is short
REST = 36  # columns of the progress line that its phase, step numbers, remaining time and gaps take
INDENT = " " * 13  # of continued epoch lines: below "top-1"


class Steps(MofNCompleteColumn):
    """ "12/252", the steps; while their number is unknown, as workers start: the seconds since the beginning."""

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text(f"{task.elapsed or 0:.0f} s", style="progress.elapsed")
        return super().render(task)


def bar_width(width: int) -> int:
    return 24 if width >= NARROW else 10


def columns(width: int) -> Sequence[ProgressColumn]:
    """The columns of the progress line."""
    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=bar_width(width)),
        Steps(),
        TextColumn("{task.fields[values]}", markup=False),
        TimeRemainingColumn(),
    )


def terms(values: Mapping[str, Any], width: int) -> str:
    """The loss terms of a step, as many as fit into the progress line."""
    width_left, shown = width - bar_width(width) - REST, ""
    for name, value in values.items():
        if name.startswith("terms/"):
            longer = f"{shown}  {name.removeprefix('terms/')} {value:.3g}".strip()
            if len(longer) > width_left:
                break
            shown = longer
    return shown


def epoch_line(line: Mapping[str, Any], width: int) -> Text:
    """A line of metrics.jsonl for the terminal; several lines if it is longer than `width`."""
    deployed, figures = next(iter(line["evaluation"].items()))
    others = [f"{name} {100 * each['top1']:.2f}" for name, each in line["evaluation"].items() if name != deployed]
    weighted = [f"{name} {value:.3f}" for name, value in line["terms"].items()]
    accuracy = Text.assemble("top-1 ", (f"{100 * figures['top1']:.2f} %", "bold"))
    speed = f"{line['images_per_second']:.0f} images/s"
    begin, loss = Text(f"  epoch {epoch_text(line['epoch'], line['step']):>4}"), Text(f"loss {figures['loss']:.3f}")
    return _joined([begin, accuracy, loss, *map(Text, others), *_separated(weighted), *_separated([speed])], width)


def epoch_text(epoch: float, step: int) -> str:
    """An integer within one step of an epoch's end, as steps rarely end exactly there; else rounded to one decimal."""
    nearest, one_step = round(epoch), abs(epoch) / step
    return f"{nearest}" if abs(epoch - nearest) <= one_step else f"{round(epoch, 1) + 0.0:g}"


def _separated(parts: Sequence[str]) -> list[Text]:
    """The first part starts with the separator, so that a line never ends with one."""
    return [Text(f"│  {part}" if i == 0 else part) for i, part in enumerate(parts)]


def _joined(parts: Sequence[Text], width: int) -> Text:
    """Parts with two spaces between them, on as many lines as they need."""
    lines = [parts[0]]
    for part in parts[1:]:
        if lines[-1].cell_len + 2 + part.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], "  ", part)
        else:
            lines.append(Text.assemble(INDENT, part))
    return Text("\n").join(lines)

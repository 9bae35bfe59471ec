"""The terminal's display of a run at any width: each number is on one line with its unit."""

import io
import re
from dataclasses import replace
from unittest.mock import MagicMock

import pytest
import ray
from rich.progress import Progress

from raykd.launch.driver import lines, on_ray
from raykd.launch.driver.display import Display
from raykd.launch.run_state.failure import RunFailed
from raykd.launch.run_state.messages import Progress as State
from raykd.launch.run_state.messages import Snapshot
from raykd.recipes.digits.supervised import recipe
from raykd.terminal import Terminal

VALUES = {f"terms/{name}": value for name, value in {"ce": 0.2351, "kd": 11.873, "hint": 1.25e-5, "crd": 0.5}.items()}
LINE = {
    "epoch": 11.99,
    "step": 252,
    "evaluation": {f"student{i or ''}": {"top1": 0.9889, "loss": 0.036} for i in range(5)},
    "terms": {name.removeprefix("terms/"): value for name, value in VALUES.items()},
    "images_per_second": 12345.6,
}


@pytest.mark.parametrize("width", [40, 60, 100, 200])
def test_an_epoch_line_wraps_only_between_values(width):
    text = lines.epoch_line(LINE, width).plain
    assert all(len(line) <= width for line in text.split("\n"))
    for value in ("epoch   12", "top-1 98.89 %", "loss 0.036", "student4 98.89", "kd 11.873", "12346 images/s"):
        assert value in text
    assert all(f"{name} {value:.3f}" in text for name, value in LINE["terms"].items())


def test_an_epoch_that_ends_within_one_is_not_shown_as_whole():
    assert "epoch  1.5" in lines.epoch_line(LINE | {"epoch": 1.49, "step": 31}, 100).plain
    assert "epoch   -1" in lines.epoch_line(LINE | {"epoch": -0.98, "step": 7}, 100).plain


@pytest.mark.parametrize("width", [60, 100])
def test_the_progress_line_shows_whole_numbers_on_one_line(width):
    console = Terminal(width=width)
    bar = Progress(*lines.columns(width), console=console)
    task = bar.add_task("evaluating", total=123456, completed=100000, values=lines.terms(VALUES, width))
    with console.capture() as captured:
        console.print(bar.get_renderable())
    (line,) = captured.get().splitlines()
    assert "100000/123456" in line and "…" not in line and bar.tasks[task].description in line
    shown = line.split("100000/123456")[1]
    assert all(
        value in ("ce 0.235", "kd 11.9", "hint 1.25e-05", "crd 0.5") for value in re.findall(r"[a-z]+ \S+", shown)
    )
    assert width < 100 or "kd 11.9" in shown


@pytest.mark.parametrize(("workers", "phase"), [(0, "starting"), (2, "starting workers")])
def test_the_first_phase_names_what_it_waits_for(workers, phase, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    console = Terminal(width=100)
    console.file, console._force_terminal = io.StringIO(), True
    display = Display(console)
    with display.run("mine", replace(recipe, workers=workers)):
        display.show(Snapshot(progress=State()))
        assert isinstance(display._bar, Progress) and display._bar.tasks[0].description == phase
        display._bar._tasks[display._task].start_time -= 75  # type: ignore[operator]
        with console.capture() as captured:
            console.print(display._bar.get_renderable())
    assert " 75 s" in captured.get() and "?" not in captured.get()  # a wait of unknown length is timed, not counted


@pytest.mark.parametrize(
    ("workers", "shown"), [(0, "in this process"), (1, "1 worker,"), (2, "2 workers"), ((1, 3), "1–3 workers")]
)
def test_a_run_begins_with_where_it_trains(workers, shown, capsys):
    display = Display(Terminal(width=100))
    with display.run("mine", replace(recipe, workers=workers)), display.console.capture():
        pass
    assert shown in capsys.readouterr().out


def test_a_terminal_that_cannot_draw_lines_again_shows_the_phases_as_a_log_does(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console = Terminal(width=100)
    console.file, console._force_terminal = io.StringIO(), True
    display = Display(console)
    with display.run("mine", recipe):
        for phase in ("preparing data and networks", "first step", "training", "training"):
            display.show(Snapshot(progress=State(phase=phase)))
    _, *shown = console.file.getvalue().splitlines()
    assert [line.split(" s  ")[1] for line in shown] == ["preparing data and networks", "first step"]


@pytest.mark.parametrize(
    ("error", "lost", "says"),
    [
        (ray.exceptions.ActorDiedError(), True, "Ray has ended: .*; the same command continues from there"),
        (ray.exceptions.OutOfMemoryError("\n".join("Memory on the node")), False, "the memory of this machine is full"),
    ],
)
def test_a_lost_state_of_the_run_is_one_line(monkeypatch, error, lost, says):
    """Also if Ray killed its actor because the machine's memory was full: other programs may need it."""

    def fail(*_):
        raise error

    monkeypatch.setattr(ray, "get", fail)
    monitor = on_ray._Monitor(MagicMock(), recipe, Display(Terminal(width=100)))
    with pytest.raises(RunFailed, match=says) as raised:
        monitor.look()
    assert "\n" not in str(raised.value) and monitor.lost is lost

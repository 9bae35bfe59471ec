"""raykd bench: the cost of a recipe's step on this machine, its bottleneck, and what to change."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from raykd import UserError
from raykd.recipe import Recipe
from raykd.terminal import Terminal

if TYPE_CHECKING:
    from raykd.bench.step import Speed

SECONDS = 5.0  # of measurement for each part
WIDTH = 100


def run(arguments: Sequence[str]) -> int:
    """Print the parts of a step and advice; returns the exit status."""
    from raykd.commands.train import options

    _, chosen = options(arguments, "bench")
    recipe = chosen.recipe
    import torch

    from raykd.bench.step import measure
    from raykd.launch.driver.validate import check

    check(recipe)
    most = recipe.workers if isinstance(recipe.workers, int) else recipe.workers[1]
    if recipe.gpus_per_worker and not torch.cuda.is_available():
        raise UserError("gpus_per_worker: this machine has no GPU; use --gpus-per-worker 0, or a node that has one")
    device = torch.device("cuda" if recipe.gpus_per_worker else "cpu")
    speed = measure(recipe, max(1, most), device, max(1, recipe.cpus_per_worker), SECONDS)
    console = Terminal(width=WIDTH)
    console.print(table(speed, recipe, max(1, most)))
    for line in advice(speed, recipe):
        console.print(line)
    return 0


def table(speed: "Speed", recipe: Recipe, workers: int) -> Table:
    """Milliseconds and images/s of each part, for one worker's share of a batch."""
    title = f"one of {workers} worker(s): {speed.images} images per step, {recipe.cpus_per_worker} CPU(s)"
    parts = Table("part", "ms per step", "images/s", title=title, title_justify="left", box=None, pad_edge=False)
    rows = {"loader alone": speed.loader, "teachers alone": speed.teachers, "whole step": speed.whole}
    rows |= {f"  {name}": value for name, value in speed.parts.items()}
    rows |= {f"teachers in {each}": seconds for each, seconds in speed.by_precision.items()}
    for name, seconds in rows.items():
        if seconds:
            parts.add_row(name, f"{1e3 * seconds:.2f}", f"{speed.images / seconds:,.0f}")
    parts.add_row("first step", f"{1e3 * speed.first:.0f}", "")
    return parts


def advice(speed: "Speed", recipe: Recipe) -> list[str]:
    """The bottleneck of the step, and what to change, most important first."""
    whole, teachers = speed.whole, speed.teachers
    waiting = speed.parts.get("data", 0.0)
    if waiting > 0.1 * whole:
        raw = (
            "" if recipe.data.encoding.mode == "raw" else ", --data.encoding.mode raw (larger files, nothing to decode)"
        )
        return [
            f"Bottleneck: the loader ({_share(waiting, whole)} of a step waits for it). Try more --cpus-per-worker{raw}"
        ]
    lines = []
    if teachers > 0.4 * whole:
        lines.append(
            f"Bottleneck: the teachers ({_share(teachers, whole)} of a step). Try fewer or smaller "
            f"ones{_faster(recipe)}{_cheaper_teachers(speed, recipe)}"
        )
    else:
        lines.append(
            f"Bottleneck: the student ({_share(whole - teachers, whole)} of a step). Try more "
            f"--workers{_faster(recipe)}"
        )
    if not recipe.precision.channels_last:
        lines.append("--precision.channels-last makes convolutions faster")
    if speed.loader > 0.7 * speed.computing:
        lines.append(f"Next bottleneck: the loader ({1e3 * speed.loader:.1f} ms per step)")
    return lines


def _faster(recipe: Recipe) -> str:
    options = [] if recipe.precision.autocast != "float32" else ["--precision.autocast bfloat16"]
    options += [] if recipe.precision.compile else ["--precision.compile (compiles for minutes, then steps are faster)"]
    return "".join(f", {option}" for option in options)


def _cheaper_teachers(speed: "Speed", recipe: Recipe) -> str:
    """Options for a cheaper teachers' pass, with the fastest measured precision."""
    options = []
    best = min(speed.by_precision, key=lambda each: speed.by_precision[each], default="")
    if best and recipe.teachers.form == "recipe" and recipe.teachers.cache == "none":
        share = speed.by_precision[best] / next(iter(speed.by_precision.values()))
        if share < 0.95:
            options.append(
                f"--teachers.form auto ({best} takes {share:.2f} of the time; it is used if the loss stays the same)"
            )
    if recipe.teachers.cache == "none" and recipe.teachers.placement == "inline":
        options.append("--teachers.placement remote (on CPUs or GPUs that the student leaves idle)")
        options.append("--teachers.cache float16 (computed once for all later runs; with --data.views also within one)")
    return "".join(f", {option}" for option in options)


def _share(part: float, whole: float) -> str:
    return f"{100 * min(1.0, part / whole):.0f} %"

"""Remote teachers in group scale: a student's whole step with teachers on another core, inline, and without any."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file

from raykd.models import create

STUDENT, TEACHER, BATCH = "vgg8", "resnet8x4", 64
RECIPE = """
from dataclasses import replace
from raykd.methods.aver_mkd import AverMKD
from raykd.models.config import Network
from raykd.recipe import Pretrained, Teachers
from recipes.digits.supervised import recipe as digits

# Every step is timed, in intervals long enough that those that the actors did while the student was evaluated, of
# which there are three in each, weigh little.
base = replace(
    digits, student=Network(name={student!r}), batch_size={batch}, workers=1, epochs=12, evaluate_every=4, log_every=1
)
sources = (Pretrained(network=Network(name={teacher!r}, weights={weights!r})),) * {count}
recipe = replace(base, method=AverMKD.Config(), teachers=Teachers(sources=sources)) if sources else base
"""


def rows(turns: int = 2, counts: tuple[int, ...] = (1, 3)) -> Iterator[dict]:
    """Milliseconds of a step, the best interval of some runs in turns; one thread and one core each."""
    cases = {"supervised": (0, "inline")}
    cases |= {f"{count} × {TEACHER} {place}": (count, place) for count in counts for place in ("inline", "remote")}
    found: dict[str, list[dict]] = {name: [] for name in cases}
    for _ in range(turns):
        for name, (count, place) in cases.items():
            found[name] += _run(count, place)
    best = {name: min(each, key=_step) for name, each in found.items()}
    for name, time in best.items():
        parts = " ".join(f"{part} {1e3 * seconds:.1f}" for part, seconds in time.items())
        yield {"what": f"{STUDENT}, {name}", "value": 1e3 * _step(time), "unit": "ms a step, best", "all": parts}
    for name, time in best.items():
        if name != "supervised":
            share = _step(time) / _step(best["supervised"])
            yield {"what": f"{name} / supervised", "value": share, "unit": "ratio", "all": ""}


def _step(time: dict[str, float]) -> float:
    return sum(time.values())


def _run(count: int, place: str) -> list[dict[str, float]]:
    """Seconds of each part of a step in every interval of a run but the first."""
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "teacher.safetensors")
        torch.manual_seed(0)
        save_file(create(TEACHER, 10, image_size=32).model.state_dict(), weights)
        recipe = Path(folder) / "remote_bench.py"
        names = {"student": STUDENT, "teacher": TEACHER, "batch": BATCH}
        recipe.write_text(RECIPE.format(weights=weights, count=count, **names))
        command = [sys.executable, "-m", "raykd", "train", str(recipe), "--storage", folder, "--name", "run"]
        options = ["--teachers.placement", place, "--wandb.mode", "disabled"]
        subprocess.run([*command, *options], check=True, capture_output=True)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["time"] for line in lines[1:]]

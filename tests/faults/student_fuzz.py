"""Damage a finished run or its data, and use it from Python: results, predictions, evaluation, exports."""

import json
import random
import shutil
from pathlib import Path

import numpy as np

import raykd
from tests.faults.fuzz import Attempt, damaged, leaves, outcome, put, worst

VALUES = (None, True, 0, -1, 2**63, 10**400, 1e308, float("nan"), "", "\0", "x", [], {}, [[]])


def opened(folder: Path) -> Attempt:
    """A run of digits, trained for a moment; an attempt damages one of its files, or of its data."""
    data, out = folder / "data", folder / "out"
    settings = {"workers": 0, "epochs": 0.1, "data.root": str(data), "wandb.mode": "disabled"}
    recipe = raykd.change(raykd.load_recipe("digits/supervised"), settings)
    run = Path(raykd.train(recipe, name="kd", storage=folder / "runs", show=False).path)
    files = {file: file.read_bytes() for place in (run, data) for file in sorted(place.rglob("*")) if file.is_file()}
    files = {file: content for file, content in files.items() if content}
    cheap, costly = using(run, data, out)
    for action in (*cheap, *costly):  # an undamaged run can be used
        assert outcome(action) == "read", outcome(action)

    def attempt(number: int) -> str:
        draw = random.Random(number)
        file = draw.choice(list(files))
        file.write_bytes(other(file, files[file], draw))
        print(file.name, end=" ", flush=True)
        outcomes = {outcome(action) for action in (*cheap, draw.choice(costly))}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(files[file])
        return worst(outcomes)

    return attempt


def using(run: Path, data: Path, out: Path) -> tuple[tuple, tuple]:
    """Actions that take little time, and those that take more."""
    picture = np.zeros((32, 32, 3), np.uint8)

    def exported(name: str, **how: object) -> object:
        shutil.rmtree(out, ignore_errors=True)
        return raykd.export(run, out / name, data_root=data, **how)

    cheap = (
        lambda: raykd.load(run).result,
        lambda: raykd.load(run).evaluation,
        lambda: raykd.load(run).metrics,
        lambda: (raykd.load(run).recipe, str(raykd.load(run))),
        lambda: raykd.load(run).predict(picture),
    )
    costly = (
        lambda: raykd.evaluate(run, data_root=data),
        lambda: exported("student.safetensors"),
        lambda: exported("student.onnx", preprocess=True),
        lambda: exported("student.int8.onnx", calibration=8),
        lambda: exported("student.pt2"),
    )
    return cheap, costly


def other(file: Path, content: bytes, draw: random.Random) -> bytes:
    """Damaged content: bytes, or a value of a JSON file."""
    plain = json.loads(content) if file.suffix == ".json" and draw.random() < 0.7 else None
    if not isinstance(plain, dict):
        return damaged(content, draw)
    put(plain, draw.choice(list(leaves(plain))), draw.choice(VALUES))
    return json.dumps(plain).encode()

"""A folder like a reader's after cloning, with shortened recipes, and one session that runs every step there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.documents.blocks import ROOT


def clone(folder: Path, epochs: str) -> Path:
    """The parts of a checkout that the documents' commands need, with shortened digits recipes, and without Ray."""
    for name in ("recipes", "cluster"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    base = folder / "recipes/digits/supervised.py"
    text = base.read_text()
    assert "epochs=12" in text and "workers=2" in text
    base.write_text(text.replace("epochs=12", f"epochs={epochs}").replace("workers=2", "workers=0"))
    return folder


def photos(folder: Path) -> None:
    """Two classes of eight small images each, which differ only in colour."""
    random = np.random.default_rng(0)
    for split, images in (("train", 8), ("val", 4)):
        for name, colour in (("cat", (200, 60, 30)), ("dog", (30, 60, 200))):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(images):
                pixels = np.array(colour) + random.normal(0, 20, (100, 120, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{i}.jpg")


def run_steps(steps: Iterable[dict[str, object]], folder: Path) -> list[dict[str, object]]:
    """Each step's status and output."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "WANDB_MODE": "disabled"}
    session = [sys.executable, "-m", "tests.documents.session"]
    lines = "".join(json.dumps(step) + "\n" for step in steps)
    done = subprocess.run(
        session, cwd=folder, env=environment, input=lines, capture_output=True, text=True, timeout=570
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder."""
    folder = clone(tmp_path_factory.mktemp("reader"), epochs="0.3")
    photos(folder / "photos")
    return folder

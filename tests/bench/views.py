"""python -m tests.bench.views STORAGE: what `data.views` costs in accuracy, on digits with FunMatch and mixup.

One training for each number of views and seed, one after another in this process's children; those that are there
already are not trained again. Some hours on two cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from scipy.stats import t

VIEWS = (1, 4, 16, 64, 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.views", description=__doc__)
    parser.add_argument("storage", type=Path, help="folder of the runs, the data and the caches")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    found: dict[int, list[float]] = {views: [] for views in VIEWS}
    for seed in range(chosen.seeds):
        for views in VIEWS:
            found[views].append(top1(chosen.storage, views, seed, chosen.epochs))
            print(f"views {views:2d}  seed {seed}  top-1 {100 * found[views][-1]:.2f} %", flush=True)
    for views, values in found.items():
        print(f"views {views:2d}  {described(values)}")


def top1(storage: Path, views: int, seed: int, epochs: int) -> float:
    """The student's accuracy on the test split after its last epoch."""
    name = f"views-{views}-seed-{seed}-epochs-{epochs}"
    fields = {"workers": 0, "seed": seed, "epochs": epochs, "evaluate-every": epochs, "data.views": views}
    fields |= {"teachers.cache": "float16", "data.root": storage / "data", "storage": storage, "name": name}
    options = [text for field, value in fields.items() for text in (f"--{field}", str(value))]
    command = [sys.executable, "-m", "raykd", "train", "digits/funmatch", *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"WANDB_MODE": "disabled"})
    return json.loads((storage / name / "result.json").read_text())["top1"]


def described(values: list[float]) -> str:
    """Mean and half the width of its 95 % interval over seeds."""
    mean = f"mean {100 * statistics.mean(values):.2f} %"
    if len(values) < 2:
        return mean
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} ± {100 * half:.2f} ({len(values)} seeds)"


if __name__ == "__main__":
    main()

"""Group cells: studies of many cells of one step each: the driver's memory, and a cell's cost besides its training.

200 cells run on a local Ray, 500 on a cluster of four nodes on this machine. About 2 minutes in all on two cores.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.bench.simulated_nodes import simulated_nodes
from tests.cluster.head import ROOT, environment
from tests.support import tiny_recipe as tiny

TABLE = """
from raykd.recipe.study import Column, Row, Study

columns = [
    Column(name=f"rate {{i}}", recipe=replace(base, epochs=0.2, optimizer=SGD(learning_rate=0.01 + i / 10_000)))
    for i in range({columns})
]
study = Study(
    rows=(Row(name="a", method=Supervised.Config()), Row(name="b", method=Fragile.Config())),
    columns=tuple(columns),
    seeds=(0,),
)
"""
LINE = re.compile(r"^ +(\d+) s  [ab], rate \d+, seed 0 (starts|finished)", re.MULTILINE)


def rows() -> Iterator[dict]:
    yield from study(200)
    yield from study(500, nodes=4)


def study(cells: int, nodes: int = 0) -> Iterator[dict]:
    """Run one study. nodes: number of nodes of 2 CPUs each, all on this machine; 0: the driver starts a local Ray."""
    with tempfile.TemporaryDirectory(prefix="rkd", dir="/tmp") as folder:
        place = Path(folder)
        path = tiny.write(place, "many", "base", place / "data")
        path.write_text(path.read_text() + TABLE.format(columns=cells // 2))
        found = _run(path, place, nodes)
        starts, ends = ([t for t, what in found["lines"] if what == kind] for kind in ("starts", "finished"))
        where = f"{cells} cells, {f'{nodes} nodes of 2 CPUs' if nodes else 'this machine'}"
        yield _row(f"{where}: driver's memory, at most", found["driver"] / 2**20, "MB")
        yield _row(f"{where}: processes of the driver and below, at most", found["processes"], "")
        yield _row(f"{where}: from the first end to the last, a cell", (ends[-1] - ends[0]) / (len(ends) - 1), "s")
        yield _row(f"{where}: from the first start to the first end", ends[0] - starts[0], "s")
        yield _row(f"{where}: study.json", found["json"] / 1e3, "kB", f"status {found['status']}, {len(ends)} ends")


def _row(what: str, value: float, unit: str, all_of_them: str = "") -> dict:
    return {"what": what, "value": value, "unit": unit, "all": all_of_them}


def _run(path: Path, place: Path, nodes: int) -> dict:
    if not nodes:
        return _watched(path, place, environment(place) | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"})
    with simulated_nodes(place, [0] + [2] * nodes) as env:
        return _watched(path, place, env)


def _watched(path: Path, place: Path, env: dict[str, str]) -> dict:
    command = [sys.executable, "-m", "raykd", "study", str(path), "--name", "many", "--storage", str(place / "runs")]
    with open(place / "log", "w") as log:
        process = subprocess.Popen(command, cwd=place, env=env, stdout=log, stderr=log)
        peak = count = 0
        while process.poll() is None:
            try:
                driver = psutil.Process(process.pid)
                peak, count = max(peak, driver.memory_info().rss), max(count, 1 + len(driver.children(recursive=True)))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.5)
    text = (place / "log").read_text()
    lines = [(int(seconds), what) for seconds, what in LINE.findall(text)]
    assert lines, text
    size = (place / "runs/many/study.json").stat().st_size
    return {"driver": peak, "processes": count, "lines": lines, "json": size, "status": process.wait()}


if __name__ == "__main__":
    wanted = [int(word) for word in sys.argv[1:]] or [200, 0]
    for row in study(*wanted):
        print(json.dumps(row), flush=True)

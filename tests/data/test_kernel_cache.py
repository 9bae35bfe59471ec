"""Compiled kernels are cached, and recompiled when any of their source files has changed."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from raykd.data.ffcv.kernels.batch import jpeg_batch, raw_batch
from raykd.data.ffcv.kernels.colour import recolour
from raykd.data.ffcv.kernels.compiled import SOURCES

MODULE = """
from numba import njit

def entry(sources):
    @njit(cache=True)
    def add(x):
        sources
        return x + 1
    return add
"""


def test_every_kernel_that_is_called_from_python_closes_over_the_hash_of_the_sources():
    for kernel in (jpeg_batch, raw_batch, recolour):
        assert SOURCES in [cell.cell_contents for cell in kernel.__wrapped__.py_func.__closure__ or ()]


def test_numba_distinguishes_functions_by_their_closures(tmp_path, monkeypatch):
    (tmp_path / "closing_over.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("closing_over")
    for sources, hits in (("a", 0), ("a", 1), ("b", 0), ("a", 1), ("b", 1)):
        add = module.entry(sources)
        assert add(np.int64(1)) == 2
        assert sum(add.stats.cache_hits.values()) == hits


CALLER = """
import os, sys, time
from pathlib import Path
from closing_over import entry
from raykd.data.device.compiled import once_per_machine

add = entry("a")
folder = Path(sys.argv[1])
(folder / f"ready{os.getpid()}").touch()
while len(list(folder.glob("ready*"))) < 3:
    time.sleep(0.01)
once_per_machine(add)(1)
print(sum(add.stats.cache_misses.values()))
"""


def test_processes_that_start_together_compile_a_kernel_once(tmp_path):
    (tmp_path / "closing_over.py").write_text(MODULE)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    env = os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", CALLER, str(tmp_path)]
    processes = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(int(process.communicate(timeout=120)[0]) for process in processes) == [0, 0, 1]


ALONE = """
import errno, sys
from closing_over import entry
from numba.core.caching import IndexDataCacheFile
from raykd.data.device.compiled import once_per_machine

def full(self, *arguments):
    raise OSError(errno.ENOSPC, "No space left on device")

IndexDataCacheFile.save = full
add = once_per_machine(entry("a"))
print(add(1), add(2))
"""


@pytest.mark.parametrize("lock", ["none", "a folder in its place", "a link to nowhere"])
def test_a_kernel_that_cannot_be_saved_or_locked_is_used_all_the_same(tmp_path, lock):
    (tmp_path / "closing_over.py").write_text(MODULE)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    env["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    command = [sys.executable, "-c", ALONE]
    if lock != "none":
        where = [sys.executable, "-c", "from closing_over import entry; print(entry('a').stats.cache_path)"]
        path = Path(subprocess.run(where, env=env, capture_output=True, text=True).stdout.strip(), "add.lock")
        path.mkdir(parents=True) if "folder" in lock else path.symlink_to(tmp_path / "nowhere/x")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["2", "3"], done.stderr

"""Compiled kernels are cached, and recompiled when any of their source files has changed."""

import importlib
import os
import subprocess
import sys

import numpy as np

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


def test_numba_tells_functions_apart_by_what_they_close_over(tmp_path, monkeypatch):
    (tmp_path / "closing_over.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("closing_over")
    for sources, hits in (("a", 0), ("a", 1), ("b", 0), ("a", 1), ("b", 1)):
        add = module.entry(sources)
        assert add(np.int64(1)) == 2
        assert sum(add.stats.cache_hits.values()) == hits


CALLER = """
import sys
from closing_over import entry
from raykd.data.ffcv.kernels.compiled import once_per_machine

add = entry("a")
print("ready", flush=True)
sys.stdin.read(1)
once_per_machine(add)(1)
print(sum(add.stats.cache_misses.values()))
"""


def test_processes_that_start_together_compile_a_kernel_once(tmp_path):
    (tmp_path / "closing_over.py").write_text(MODULE)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    env = os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", CALLER], env=env, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("g")
        process.stdin.close()
    compiled = [int(process.stdout.read()) for process in processes]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert sorted(compiled) == [0, 0, 1]

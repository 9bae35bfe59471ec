"""Compiled kernels are cached, and recompiled when any of their source files has changed."""

import importlib

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
        assert SOURCES in [cell.cell_contents for cell in kernel.py_func.__closure__ or ()]


def test_numba_tells_functions_apart_by_what_they_close_over(tmp_path, monkeypatch):
    (tmp_path / "closing_over.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("closing_over")
    for sources, hits in (("a", 0), ("a", 1), ("b", 0), ("a", 1), ("b", 1)):
        add = module.entry(sources)
        assert add(np.int64(1)) == 2
        assert sum(add.stats.cache_hits.values()) == hits

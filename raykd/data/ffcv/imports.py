"""The parts of FFCV that raykd uses, imported without side effects, and the functions that raykd replaces in them."""

from typing import Any

import numba
import numpy as np
import torch

from raykd import UserError

# The import of FFCV compiles a table of two strings, which takes seconds, and sets PyTorch to one thread.
_threads, _disabled, numba.config.DISABLE_JIT = torch.get_num_threads(), numba.config.DISABLE_JIT, True
try:
    from ffcv.fields.rgb_image import RGBImageField as RGBImageField
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder as SimpleRGBImageDecoder
    from ffcv.loader import epoch_iterator
    from ffcv.loader.epoch_iterator import EpochIterator as EpochIterator
    from ffcv.memory_managers import OSCacheManager as OSCacheManager
    from ffcv.memory_managers import ProcessCacheManager as ProcessCacheManager
    from ffcv.memory_managers.base import MemoryContext as MemoryContext
    from ffcv.memory_managers.process_cache import ProcessCacheContext as ProcessCacheContext
    from ffcv.pipeline import graph
    from ffcv.pipeline.allocation_query import AllocationQuery as AllocationQuery
    from ffcv.pipeline.compiler import Compiler as Compiler
    from ffcv.pipeline.graph import Graph as Graph
    from ffcv.pipeline.pipeline_spec import PipelineSpec as PipelineSpec
except ImportError as error:
    raise UserError(
        f"FFCV can't be imported ({error}): install it (Debian: apt install libopencv-dev libturbojpeg0-dev pkg-config "
        "g++, then pip install ffcv), or use --data.loader torch"
    ) from None
finally:
    numba.config.DISABLE_JIT = _disabled
    torch.set_num_threads(_threads)


def _set_threads(cls: Any, threads: int) -> None:
    cls.num_threads = threads
    numba.set_num_threads(threads)


# FFCV's own function would also set PyTorch's number of threads for the whole process.
Compiler.set_num_threads = classmethod(_set_threads)


def _allocate(wanted: AllocationQuery, batch_size: int, slots: int) -> np.ndarray:
    return np.empty((slots, batch_size, *wanted.shape), wanted.dtype)


# On a machine with a GPU, FFCV's own function would pin its buffers and create streams, and so allocate memory of GPU 0
# in every process, even one that uses no GPU. Buffers are copied before they go to one: see raykd.data.device.transfer.
graph.allocate_query = _allocate
epoch_iterator.IS_CUDA = False

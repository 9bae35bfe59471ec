"""A frozen teacher's pass as one CUDA graph: a single launch in place of one for each of its kernels."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Pass = Callable[[Tensor], tuple[Tensor, ...]]

WARM = 3  # passes before the capture, in which cuDNN tries its kernels and memory is allocated
MOST = 4  # shapes of images that are captured, as each keeps its outputs: a whole batch, and parts of one


class Capture(NamedTuple):
    graph: torch.cuda.CUDAGraph
    images: Tensor  # what the graph reads
    outputs: tuple[Tensor, ...]  # what it writes, in every replay anew


class Captured:
    """`run`, which must launch the same kernels whatever the images hold, replayed from a graph of each shape."""

    def __init__(self, run: Pass):
        self.run = run
        self._captures: dict[tuple[torch.Size, tuple[int, ...], torch.dtype], Capture] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The pass's outputs, in memory of their own."""
        like = images.shape, images.stride(), images.dtype
        if like not in self._captures and len(self._captures) == MOST:
            return self.run(images)
        if like not in self._captures:
            self._captures[like] = capture(self.run, images)
        graph, inputs, outputs = self._captures[like]
        inputs.copy_(images)
        graph.replay()
        return tuple(output.clone() for output in outputs)


@torch.inference_mode(False)
@torch.no_grad()
def capture(run: Pass, images: Tensor) -> Capture:
    """A graph of one pass, on the images' device; nothing else may wait for that device meanwhile."""
    inputs, side = images.clone(), torch.cuda.Stream(images.device)
    side.wait_stream(torch.cuda.current_stream(images.device))
    with torch.cuda.stream(side):
        for _ in range(WARM):
            run(inputs)
    torch.cuda.current_stream(images.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads of the process copy batches and ask NCCL how far it is: only this one's calls are captured.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = run(inputs)
    return Capture(graph, inputs, outputs)

"""A frozen teacher's pass as one CUDA graph: a single launch instead of one for each kernel."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Pass = Callable[[Tensor], tuple[Tensor, ...]]

WARM = 3  # warm-up passes before the capture, in which cuDNN benchmarks kernels and memory is allocated
MOST = 4  # maximum number of captured image shapes, as each holds its outputs: a whole batch, and parts of one


class Capture(NamedTuple):
    """A captured pass for images of one shape."""

    graph: torch.cuda.CUDAGraph
    images: Tensor  # the graph's input
    outputs: tuple[Tensor, ...]  # its outputs, overwritten by every replay


class Captured:
    """`run`, replayed from one graph for each image shape; it must launch the same kernels for all images."""

    def __init__(self, run: Pass):
        self.run = run
        self._captures: dict[tuple[torch.Size, tuple[int, ...], torch.dtype], Capture] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """The pass's outputs, in their own memory."""
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
    """Capture one pass on the images' device; nothing else may synchronise with that device meanwhile."""
    inputs, side = images.clone(), torch.cuda.Stream(images.device)
    side.wait_stream(torch.cuda.current_stream(images.device))
    with torch.cuda.stream(side):
        for _ in range(WARM):
            run(inputs)
    torch.cuda.current_stream(images.device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    # Other threads of the process copy batches and poll NCCL: only this thread's calls are captured.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = run(inputs)
    return Capture(graph, inputs, outputs)

"""Chooses the layers to leave in float, so that int8 loses no more accuracy than allowed."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch.nn.functional as F
from onnx import ModelProto
from torch import Tensor

from raykd.data.loader import TestLoader
from raykd.deploy.onnx.export import runner
from raykd.deploy.onnx.int8 import Quantizer

SHOWN = 64  # images that layers are ranked on


@dataclass(frozen=True)
class Quantized:
    """An int8 graph with its accuracy."""

    graph: ModelProto
    top1: float  # fraction
    in_float: tuple[str, ...]  # layers left in float32


def within(quantizer: Quantizer, graph: ModelProto, least: float, accuracy: Callable[[ModelProto], float]) -> Quantized:
    """An int8 graph whose accuracy, in [0, 1], is at least `least`, with as few layers in float as bisection finds.

    Layers are left in float in the order of `ranked`: those that change the output most first.
    """

    def quantized(names: Sequence[str]) -> Quantized:
        int8 = quantizer.quantize(in_float=names)
        return Quantized(int8, accuracy(int8), tuple(names))

    all_int8 = quantized(())
    if all_int8.top1 >= least:
        return all_int8
    order = ranked(quantizer, graph)
    with_first = cache(lambda count: quantized(order[:count]))
    too_few = bisect_left(range(1, len(order)), True, key=lambda count: with_first(count).top1 >= least)
    return with_first(too_few + 1)


def ranked(quantizer: Quantizer, graph: ModelProto) -> list[str]:
    """The layers by how much each alone in int8 changes the probabilities, most first: mean KL(float ‖ int8)."""
    images = quantizer.images[:: max(1, len(quantizer.images) // SHOWN)]
    of_float = runner(graph)(images).log_softmax(1)
    harm = {name: _divergence(quantizer.quantize(only=(name,)), images, of_float) for name in quantizer.layers}
    return sorted(harm, key=lambda name: -harm[name])


def _divergence(graph: ModelProto, images: Tensor, of_float: Tensor) -> float:
    log_probabilities = runner(graph)(images).log_softmax(1)
    return F.kl_div(log_probabilities, of_float, log_target=True, reduction="batchmean").item()


def top1(graph: ModelProto, loader: Callable[[], TestLoader]) -> float:
    """Top-1, a fraction, of a graph from images to logits on a loader's split."""
    run, right, count = runner(graph), 0, 0
    for batch in loader().batches():
        right += int((run(batch.images.contiguous()).argmax(1) == batch.labels).sum())
        count += len(batch.labels)
    return right / count

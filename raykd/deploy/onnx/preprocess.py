"""The evaluation's preprocessing as the first part of an ONNX graph, and probabilities as its last."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from raykd.data.augment.pipeline import evaluation
from raykd.data.config import Data, Encoding
from raykd.deploy.files import DiffersError
from raykd.deploy.onnx.export import IMAGES, LOGITS, runner
from raykd.deploy.pixels import evaluation_images

if TYPE_CHECKING:
    from onnx import ModelProto

PIXELS = "uint8 [N, height, width, 3], RGB pixels of pictures of one size; resizing and normalisation are in the graph"
PROBABILITIES = "probabilities [N, classes]"

# exclude_outside: weights beyond the border are left out, as in PIL and raykd, not given to the outermost pixels.
# Sides are whole pixels, the longer one cut down; the corner is rounded half to even: as raykd.data.augment.geometry.
SHORTER_SIDE = """
    short = ReduceMin <keepdims = 1> (sides)
    enlarged = Mul (sides, target)
    resized_sides = Div (enlarged, short)
"""
BOTH_SIDES = """
    resized_sides = Concat <axis = 0> (target, target)
"""
RESIZE = """
    target = Constant <value = int64[1] {{{resize}}}> ()
    {sides}
    count = Shape <start = 0, end = 1> (pixels)
    three = Constant <value = int64[1] {{3}}> ()
    wanted = Concat <axis = 0> (count, three, resized_sides)
    resized = Resize <mode = "linear", antialias = 1, exclude_outside = 1> (levels, , , wanted)
    half = Constant <value = float {{0.5}}> ()
    raised = Add (resized, half)
    whole = Floor (raised)
"""
CROP = """
    side = Constant <value = int64 {{{size}}}> ()
    room = Sub ({sides}, side)
    room_float = Cast <to = 1> (room)
    two = Constant <value = float {{2.0}}> ()
    middle = Div (room_float, two)
    rounded = Round (middle)
    start = Cast <to = 7> (rounded)
    end = Add (start, side)
    axes = Constant <value = int64[2] {{2, 3}}> ()
    cropped = Slice ({image}, start, end, axes)
"""
# The last Reshape refuses pictures that did not become S × S.
GRAPH = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
preprocessing (uint8[N, {height}, {width}, 3] pixels) => (float[N, 3, {size}, {size}] images)
{{
    planes = Transpose <perm = [0, 3, 1, 2]> (pixels)
    levels = Cast <to = 1> (planes)
    sides = Shape <start = 1, end = 3> (pixels)
    {steps}
    shape = Constant <value = int64[4] {{0, 3, {size}, {size}}}> ()
    square = Reshape ({last}, shape)
    factor = Constant <value = float[1, 3, 1, 1] {{{factor}}}> ()
    offset = Constant <value = float[1, 3, 1, 1] {{{offset}}}> ()
    multiplied = Mul (square, factor)
    images = Sub (multiplied, offset)
}}
"""


def with_preprocessing(graph: "ModelProto", data: Data) -> "ModelProto":
    """pixels uint8 [N, H, W, 3] → probabilities float32 [N, C]; `graph` maps images to logits.

    Accepts pictures of any size if the evaluation resizes them, else of the sizes that the evaluation accepts: others
    make onnxruntime fail.
    """
    import onnx

    opset = next(each.version for each in graph.opset_import if each.domain in ("", "ai.onnx"))
    before = onnx.parser.parse_model(_text(data, graph.ir_version, opset))
    before = onnx.compose.add_prefix(before, "preprocess/", rename_inputs=False, rename_outputs=False)
    merged = onnx.compose.merge_models(before, graph, io_map=[(IMAGES, IMAGES)])
    merged.graph.node.append(onnx.helper.make_node("Softmax", [LOGITS], ["probabilities"], axis=1))
    merged.graph.output[0].name = "probabilities"
    onnx.checker.check_model(merged)
    return merged


def compared_with_evaluation(
    preprocessed: "ModelProto", graph: "ModelProto", data: Data, pictures: Sequence[np.ndarray]
) -> float:
    """The largest difference of a probability of `preprocessed` from `graph` behind the evaluation's preprocessing.

    Pictures, uint8 [H, W, 3] each, are not compressed. Raises DiffersError if the difference is too large.
    """
    network, everything = runner(graph), runner(preprocessed)
    images = evaluation_images(pictures, replace(data, encoding=Encoding(mode="raw")), torch.device("cpu"))
    expected = network(images).softmax(1)
    probabilities = torch.cat([everything(torch.from_numpy(picture[None])) for picture in pictures])
    difference = (probabilities - expected).abs().max().item()
    if not difference <= 0.02:
        raise DiffersError(f"with its preprocessing the network gives probabilities that differ by {difference:.2e}")
    return difference


def _text(data: Data, ir_version: int, opset: int) -> str:
    geometry, size = evaluation(data).geometry, data.image_size
    free = geometry.resize is not None or geometry.crop is not None
    steps, last, sides = "", "levels", "sides"
    if geometry.resize:
        how = SHORTER_SIDE if geometry.resize.keep_aspect else BOTH_SIDES
        steps += RESIZE.format(resize=geometry.resize.size, sides=how)
        last, sides = "whole", "resized_sides"
    if geometry.crop:
        steps += CROP.format(size=size, sides=sides, image=last)
        last = "cropped"
    scale = torch.tensor(data.std) * 255.0  # as raykd.data.device.normalize, to the bit
    numbers = {"factor": 1.0 / scale, "offset": torch.tensor(data.mean) * 255.0 / scale}
    listed = {name: ", ".join(f"{value:.9g}" for value in values.tolist()) for name, values in numbers.items()}
    height, width = ("H", "W") if free else (size, size)
    about = {"ir_version": ir_version, "opset": opset, "height": height, "width": width, "size": size}
    return GRAPH.format(steps=steps, last=last, **about, **listed)

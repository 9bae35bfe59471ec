"""A network's ONNX graph in int8, by onnxruntime's static quantisation.

Weights have 8 bits per output channel, activations 8 bits per tensor, with ranges measured on training images (QDQ
format, signed, as onnxruntime's documentation recommends for CPUs). Softmax and norms stay in float.
"""

import logging
from collections.abc import Collection
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static
from torch import Tensor

from raykd.deploy.onnx.export import IMAGES

BATCH = 16  # images of one pass of the calibration
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul")
PASSED_ON = ("Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Flatten", "Transpose", "Concat")
"""Operations that are computed in int8 if their inputs are in int8."""


class Quantizer:
    """Creates int8 graphs from one float graph; the activations' ranges are measured once."""

    def __init__(self, graph: ModelProto, images: Tensor, folder: Path):
        """images: normalised training images [N, 3, S, S]. folder: for temporary files, used until the end."""
        self.folder, self.images = folder, images
        graph = _with_names(graph)
        # Shapes alone: the exporter has folded BatchNorms, and optimising further would lose the layers' names.
        quant_pre_process(graph, str(folder / "float.onnx"), skip_optimization=True, skip_symbolic_shape=True)
        self.layers = [node.name for node in graph.graph.node if node.op_type in LAYERS]

    def quantize(self, *, in_float: Collection[str] = (), only: Collection[str] | None = None) -> ModelProto:
        """The graph in int8 except for the layers `in_float`. only: if given, all layers except these stay in float."""
        excluded = [name for name in self.layers if name in in_float or only is not None and name not in only]
        passed_on = PASSED_ON if only is None else ()
        quiet = logging.getLogger()
        level, path = quiet.level, self.folder / "int8.onnx"
        quiet.setLevel(logging.ERROR)  # it warns of intended settings
        try:
            quantize_static(
                self.folder / "float.onnx",
                path,
                Images(self.images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[*LAYERS, *passed_on],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
                calibration_cache_path=self.folder / f"ranges{len(passed_on)}.json",
            )
        finally:
            quiet.setLevel(level)
        return onnx.load(path)


class Images(CalibrationDataReader):
    """Provides images in batches for calibration."""

    def __init__(self, images: Tensor):
        self.parts = iter(images.split(BATCH))

    def get_next(self) -> dict | None:
        part = next(self.parts, None)
        return None if part is None else {IMAGES: part.numpy()}


def _with_names(graph: ModelProto) -> ModelProto:
    """A copy in which nodes with weights have the names of their layers, e.g. "layer1.0.conv1"."""
    named = ModelProto()
    named.CopyFrom(graph)
    weights = {each.name for each in named.graph.initializer}
    taken: set[str] = set()
    for number, node in enumerate(named.graph.node):
        own = [name.removesuffix(".weight") for name in node.input if name in weights and name.endswith(".weight")]
        name = own[0] if own and own[0] not in taken else node.name or f"{node.op_type}_{number}"
        node.name = name
        taken.add(name)
    return named

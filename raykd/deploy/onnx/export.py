"""Exports a network as an ONNX graph, and runs graphs by onnxruntime."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.deploy.files import two_of

if TYPE_CHECKING:
    from onnx import ModelProto

IMAGES, LOGITS = "images", "logits"


def expect_packages() -> None:
    """Raise UserError if a package that ONNX needs is not installed."""
    try:
        for package in ("onnx", "onnxscript", "onnxruntime"):  # torch's exporter needs onnxscript
            importlib.import_module(package)
    except ImportError:
        raise UserError(
            "ONNX needs the packages onnx, onnxscript and onnxruntime: pip install 'raykd[export]'"
        ) from None


def float_graph(model: nn.Module, images: Tensor) -> "ModelProto":
    """The graph of images float32 [N, 3, S, S] → logits float32 [N, C], for any N. images: examples for tracing."""
    expect_packages()
    program = torch.onnx.export(
        model,
        (two_of(images),),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        input_names=[IMAGES],
        output_names=[LOGITS],
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # of the dynamo exporter
    return program.model_proto


def save(graph: "ModelProto", path: Path, about: dict[str, str]) -> None:
    """Write a graph with metadata."""
    import onnx

    onnx.helper.set_model_props(graph, about)
    path.write_bytes(graph.SerializeToString())


def runner(graph: "ModelProto") -> Callable[[Tensor], Tensor]:
    """A function that runs a graph with one input and one output by onnxruntime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    return lambda values: torch.from_numpy(session.run(None, {name: values.numpy()})[0])

"""What the user chooses of an ONNX file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OnnxOptions:
    """The options of an ONNX file; the later two are those of int8."""

    preprocess: bool = False
    """Whether resizing, cropping and normalisation are in the graph, and softmax."""
    max_loss: float = 100.0
    """How much top-1 may be lost, in percentage points, on the split of the run's evaluations."""
    calibration: int = 256
    """Number of training images for measuring the ranges of the activations."""

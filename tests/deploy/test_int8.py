"""`raykd export RUN --to FILE.int8.onnx`: quantisation by onnxruntime, its accuracy, and the layers left in float."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.numpy_helper import to_array
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from raykd.__main__ import main
from raykd.deploy.onnx.export import float_graph
from raykd.deploy.onnx.float_layers import ranked, within
from raykd.deploy.onnx.int8 import Quantizer
from raykd.runs.student import read_student


@pytest.fixture(scope="module")
def exported(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "student.int8.onnx"
    assert main(["export", digits.location, "--to", str(path), "--calibration", "64"]) == 0
    return path


def test_the_reported_accuracy_is_that_of_the_test_split(exported):
    """Recomputed from scikit-learn's digits."""
    digits = load_digits()
    _, test = train_test_split(np.arange(1797), test_size=450, random_state=0, stratify=digits.target)
    pixels = np.kron(np.rint(digits.images[test] * (255 / 16)), np.ones((1, 4, 4)))
    images = ((pixels / 255 - 0.3053) / 0.3758).astype(np.float32)[:, None].repeat(3, 1)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images})
    about = session.get_modelmeta().custom_metadata_map
    right = (logits.argmax(1) == digits.target[test]).mean()
    assert float(about["raykd.top1"]) == pytest.approx(right, abs=0.003)  # a sum that lies half-way between two steps
    assert json.loads(about["raykd.float32_layers"]) == [] and about["raykd.calibration"] == "64"


def test_weights_are_quantised_by_output_channel(exported, digits):
    graph, state = onnx.load(exported).graph, read_student(digits)[0].model.state_dict()
    values = {each.name: to_array(each) for each in graph.initializer}
    rounded = {
        node.input[0].removesuffix("_quantized"): values[node.input[0]] * _along(values[node.input[1]], values, node)
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0].endswith("weight_quantized")
    }
    layers = [name for name, tensor in state.items() if name.endswith("weight") and tensor.ndim > 1]
    assert sorted(rounded) == sorted(layers)
    fc = state["fc.weight"].numpy()  # the convolutions' have their BatchNorms folded in
    steps = np.abs(fc).max(1, keepdims=True) / 127
    assert (np.abs(rounded["fc.weight"] - fc) <= 0.5001 * steps).all()


def _along(scale: np.ndarray, values: dict, node) -> np.ndarray:
    (axis,) = [each.i for each in node.attribute if each.name == "axis"]
    shape = np.ones(values[node.input[0]].ndim, int)
    shape[axis] = -1
    return scale.reshape(shape)


def test_the_int8_graph_may_include_preprocessing(digits, tmp_path, capsys):
    path = tmp_path / "whole.int8.onnx"
    assert main(["export", digits.location, "--to", str(path), "--preprocess", "--calibration", "32"]) == 0
    said = capsys.readouterr().out
    assert "top-1" in said and "float32" in said and "points, test split" in said
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = np.asarray(Image.new("RGB", (32, 32), (200, 200, 200)))[None]
    (probabilities,) = session.run(["probabilities"], {"pixels": pixels})
    assert probabilities.shape == (1, 10) and probabilities.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("needed", [0, 1, 2, 5, 7, 8])
def test_as_few_layers_as_necessary_stay_in_float(needed, monkeypatch):
    """Of eight layers, the `needed` most harmful ones, found with few measurements."""
    layers, measured = [f"layer{i}" for i in range(8)], []
    monkeypatch.setattr("raykd.deploy.onnx.float_layers.ranked", lambda quantizer, graph: layers)
    quantizer = SimpleNamespace(quantize=lambda in_float=(): len(in_float))

    def accuracy(count):
        measured.append(count)
        return 0.9 if count >= needed else 0.5 + count / 100

    made = within(quantizer, None, 0.89, accuracy)
    assert made.in_float == tuple(layers[:needed]) and made.top1 == 0.9
    assert len(measured) <= 5


def test_layers_around_an_outlier_are_found_most_harmful(tmp_path):
    """One value of 3,000 makes the quantisation step 24, so that all other values become 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 300), nn.Linear(300, 5))
    with torch.no_grad():
        model[3].bias[0], model[4].weight[:, 0] = 3000.0, 0.0
    images = torch.randn(16, 3, 8, 8)
    graph = float_graph(model.eval(), images)
    order = ranked(Quantizer(graph, images, tmp_path), graph)
    assert set(order[:2]) == {"3", "4"} and order[2] == "0"


def test_an_invalid_max_loss_is_rejected(digits, capsys):
    assert main(["export", digits.location, "--to", "student.int8.onnx", "--max-loss", "-1"]) == 2
    assert "max_loss" in capsys.readouterr().err.replace("-", "_")

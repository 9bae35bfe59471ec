"""The deployed network as an ONNX file: in float32 or int8, from images or from pixels on."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from raykd import UserError
from raykd.contract import Placement
from raykd.data.config import Data, Prepared
from raykd.data.loader import TestLoader
from raykd.data.storage.prepare import prepare
from raykd.deploy.deployed import Deployed
from raykd.deploy.files import compared, exporting
from raykd.deploy.onnx.export import expect_packages, float_graph, runner, save
from raykd.deploy.onnx.options import OnnxOptions
from raykd.deploy.onnx.preprocess import PIXELS, PROBABILITIES, compared_with_evaluation, with_preprocessing
from raykd.deploy.samples import check_images, check_pictures, spread_images
from raykd.storage.atomic import temporary_folder

if TYPE_CHECKING:
    from onnx import ModelProto

BATCH = 32


def write_onnx(deployed: Deployed, path: Path, options: OnnxOptions) -> str:
    """Write the whole network as ONNX for any batch size."""
    images, which = check_images(deployed.data)
    with exporting(deployed.about.network, ".onnx"):
        graph = float_graph(deployed.model, images)
        for_all_sizes = runner(graph)
        for_all_sizes(images[:1])
    check = compared(for_all_sizes, deployed, images, which)
    if options.preprocess:
        return write_preprocessed(deployed, graph, path)
    save(graph, path, deployed.described())
    return check


def write_preprocessed(deployed: Deployed, graph: "ModelProto", path: Path, **about: object) -> str:
    """Write a graph of the network with the evaluation's preprocessing. about: further metadata."""
    pictures, which = check_pictures(deployed.data)
    preprocessed = with_preprocessing(graph, deployed.data)
    difference = compared_with_evaluation(preprocessed, graph, deployed.data, pictures)
    most = deployed.data.encoding.max_resolution
    before = f"; shrink pictures whose longer side exceeds {most} pixels to it before, as the data's" if most else ""
    save(preprocessed, path, deployed.described(input=PIXELS + before, output=PROBABILITIES, **about))
    return f"pixels to probabilities, within {difference:.0e} of the evaluation's on {which}{before}"


def write_int8(deployed: Deployed, path: Path, options: OnnxOptions) -> str:
    """Quantise, measure and write; returns a summary for the user.

    If int8 loses more top-1 than the options allow, layers are left in float.
    Raises UserError if the data set is not available.
    """
    expect_packages()
    from raykd.deploy.onnx.float_layers import top1, within
    from raykd.deploy.onnx.int8 import Quantizer

    prepared = prepare(deployed.data)
    images = spread_images(deployed.data, prepared, "train", options.calibration).contiguous()
    with exporting(deployed.about.network, ".int8.onnx"):
        graph = float_graph(deployed.model, images)
        runner(graph)(images[:1])
    accuracy = partial(top1, loader=partial(_loader, deployed.data, prepared))
    of_float = accuracy(graph)
    with temporary_folder() as folder:
        int8 = within(Quantizer(graph, images, folder), graph, of_float - options.max_loss / 100, accuracy)
    if 100 * (of_float - int8.top1) > options.max_loss:
        raise UserError(
            f"--max-loss {options.max_loss:g}: int8 still loses {100 * (of_float - int8.top1):.2f} points; raise it"
        )
    of_int8 = int8.top1
    if deployed.data.validation and prepared.test is not None:  # it has chosen the layers: the test split has not
        on_test = partial(top1, loader=partial(_loader, replace(deployed.data, validation=0.0), prepared))
        of_float, of_int8 = on_test(graph), on_test(int8.graph)
    about = {
        "top1": of_int8,
        "float32_top1": of_float,
        "float32_layers": int8.in_float,
        "calibration": len(images),
    }
    if options.preprocess:
        write_preprocessed(deployed, int8.graph, path, **about)
    else:
        save(int8.graph, path, deployed.described(**about))
    split = "test split" if prepared.test is not None else "part held out of the training split"
    return _summary(of_int8, of_float, int8.in_float, split)


def _loader(data: Data, prepared: Prepared) -> TestLoader:
    placement = Placement(torch.device("cpu"), torch.get_num_threads())
    return TestLoader(data, prepared, placement, batch_size=BATCH)


def _summary(of_int8: float, of_float: float, in_float: tuple[str, ...], split: str) -> str:
    left = f"in float32: {', '.join(in_float)}" if in_float else "no layer left in float32"
    points = 100 * (of_int8 - of_float)
    return f"top-1 {100 * of_int8:.2f} %, float32 {100 * of_float:.2f} % ({points:+.2f} points, {split}); {left}"

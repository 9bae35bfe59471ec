"""`raykd export`: every format contains the same network and all the information that its user needs."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch
from PIL import Image

from raykd.__main__ import main
from raykd.data.config import Data, Encoding
from raykd.data.sources.digits import Digits
from raykd.data.transforms import CenterCrop, Resize
from raykd.deploy.deployed import open_deployed
from raykd.deploy.onnx.export import float_graph
from raykd.deploy.onnx.files import write_onnx
from raykd.deploy.onnx.options import OnnxOptions
from raykd.deploy.onnx.preprocess import with_preprocessing
from raykd.deploy.pixels import evaluation_images
from raykd.deploy.predictor import Predictor
from raykd.methods.simkd import SimKD
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.recipe.fingerprint import fingerprint
from raykd.runs.recipe import recipe_of
from raykd.runs.student import about_of, read_student, write_student
from raykd.storage.folder import Folder
from tests.deploy.conftest import at_hand


def session(path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def metadata(path) -> dict[str, str]:
    """The metadata of an exported file of any kind."""
    if path.suffix == ".onnx":
        return session(path).get_modelmeta().custom_metadata_map
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "pt") as file:
            return file.metadata()
    files = {"raykd.json": ""}
    torch.export.load(path, extra_files=files)
    return json.loads(files["raykd.json"])


@pytest.mark.parametrize("suffix", ["onnx", "pt2", "safetensors"])
def test_every_file_contains_classes_preprocessing_and_origin(folder_run, suffix, tmp_path, capsys):
    path, result = tmp_path / f"student.{suffix}", json.loads(folder_run.read("result.json"))
    assert main(["export", folder_run.location, *at_hand(folder_run), "--to", str(path)]) == 0
    assert suffix == "safetensors" or "16 images of the test split" in capsys.readouterr().out
    about = metadata(path)
    assert json.loads(about["raykd.classes"]) == ["coarse", "fine", "middle"]
    assert about["raykd.image_size"] == "48" and "antialias" in about["raykd.interpolation"]
    assert [(step["class"].split(":")[1], step.get("size")) for step in json.loads(about["raykd.resize"])] == [
        ("Resize", 56),
        ("CenterCrop", None),
    ]
    assert json.loads(about["raykd.mean"]) == list(read_student(folder_run)[1].mean)
    assert float(about["raykd.top1"]) == result["top1"] and about["raykd.commit"] == result["git"]
    assert about["raykd.recipe"] == fingerprint(recipe_of(folder_run)) and about["raykd.method"] == "Supervised"


def test_exported_weights_can_be_loaded_as_a_student(folder_run, tmp_path):
    path = tmp_path / "student.safetensors"
    assert main(["export", folder_run.location, *at_hand(folder_run), "--to", str(path)]) == 0
    network, about = read_student(folder_run)
    assert about_of(path) == about
    again = create(about.network, 3, about.image_size, weights=str(path), options=about.options)
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values()))


def test_both_graphs_give_raykds_probabilities(folder_run, images, tmp_path):
    """The plain graph gets its input from PIL and numpy, prepared by the metadata only."""
    for words in (["plain.onnx"], ["whole.onnx", "--preprocess"]):
        assert (
            main(["export", folder_run.location, *at_hand(folder_run), "--to", str(tmp_path / words[0]), *words[1:]])
            == 0
        )
    recipe = recipe_of(folder_run)
    uncompressed = replace(recipe, data=replace(recipe.data, encoding=Encoding(mode="raw")))
    file = sorted((images / "val").rglob("*.jpg"))[5]
    Image.open(file).save(tmp_path / "picture.png")
    wanted = Predictor(folder_run, uncompressed).probabilities([tmp_path / "picture.png"])
    picture = Image.open(tmp_path / "picture.png").convert("RGB")
    whole = session(tmp_path / "whole.onnx")
    assert json.loads(metadata(tmp_path / "whole.onnx")["raykd.classes"]) == ["coarse", "fine", "middle"]
    (found,) = whole.run(["probabilities"], {"pixels": np.asarray(picture)[None]})
    assert np.abs(found - wanted).max() < 1e-4
    about = metadata(tmp_path / "plain.onnx")
    mean, std = (np.array(json.loads(about[f"raykd.{name}"]), np.float32) for name in ("mean", "std"))
    normalised = (reference(picture, Resize(size=56), True, 48) / np.float32(255) - mean) / std
    planes = np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)
    (logits,) = session(tmp_path / "plain.onnx").run(["logits"], {"images": planes})
    assert np.abs(torch.from_numpy(logits).softmax(1).numpy() - wanted).max() < 3e-3  # a level here and there


def reference(picture: Image.Image, resize: Resize | None, crop: bool, size: int) -> np.ndarray:
    """PIL's resizing followed by a central crop, [S, S, 3]."""
    if resize is not None:
        width, height = picture.size
        sides = (resize.size * width // min(width, height), resize.size * height // min(width, height))
        picture = picture.resize(sides if resize.keep_aspect else (resize.size,) * 2, Image.Resampling.BILINEAR)
    if crop:
        left, top = (round((side - size) / 2) for side in picture.size)
        picture = picture.crop((left, top, left + size, top + size))
    return np.asarray(picture, np.float32)


class Pixels(torch.nn.Module):
    """A network whose logits are its input."""

    def forward(self, images):
        return images.flatten(1) + 0.0


@pytest.mark.parametrize(
    "resize, crop, sides",
    [
        (Resize(size=40), True, [(40, 40), (61, 47), (97, 333), (35, 24), (32, 200)]),
        (Resize(size=32), True, [(33, 100), (500, 32)]),
        (Resize(size=32, keep_aspect=False), False, [(61, 47), (20, 90), (32, 32)]),
        (None, True, [(33, 32), (61, 47)]),
        (None, False, [(32, 32)]),
    ],
)
def test_the_graph_resizes_and_crops_like_pil(resize, crop, sides):
    """Within one of 256 levels: PIL also rounds between the two axes, and the graph adds in another order."""
    steps = tuple(step for step in (resize, CenterCrop() if crop else None) if step is not None)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    data = Data(source=Digits(), image_size=32, mean=mean, std=std, test=steps, encoding=Encoding(mode="raw"))
    graph = with_preprocessing(float_graph(Pixels().eval(), torch.randn(2, 3, 32, 32)), data)
    graph.graph.node.pop()  # softmax: what comes out are the normalised images
    graph.graph.output[0].name = "logits"
    run, random = session(graph.SerializeToString()), np.random.default_rng(0)
    level = np.array(std).reshape(3, 1, 1) * 255
    for height, width in sides:
        smooth = np.asarray(Image.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).resize((width, height)))
        (found,) = run.run(None, {"pixels": smooth[None]})
        found = found.reshape(3, 32, 32)
        own = evaluation_images([smooth], data, torch.device("cpu")).numpy()[0]
        by_pil = reference(Image.fromarray(smooth), resize, crop, 32).transpose(2, 0, 1)
        by_pil = (by_pil / 255 - np.array(mean).reshape(3, 1, 1)) / np.array(std).reshape(3, 1, 1)
        for wanted, share in ((own, 0.02), (by_pil, 0.3)):
            levels = np.abs(found - wanted) * level
            assert levels.max() < 1.01 and (levels > 0.01).mean() < share, (height, width, levels.max())


@pytest.mark.parametrize("steps, side", [((), 31), ((CenterCrop(),), 31), ((Resize(size=32),), 40)])
def test_the_graph_rejects_the_image_sizes_that_the_evaluation_rejects(steps, side):
    data = Data(source=Digits(), image_size=32, mean=(0.4,) * 3, std=(0.2,) * 3, test=steps)
    graph = with_preprocessing(float_graph(Pixels().eval(), torch.randn(2, 3, 32, 32)), data)
    with pytest.raises(Exception, match="(?i)dimension|shape"):
        session(graph.SerializeToString()).run(None, {"pixels": np.zeros((1, side, 33, 3), np.uint8)})


def test_a_student_with_a_reused_head_is_exported_with_both_options(tmp_path):
    from recipes.digits.simkd import recipe

    torch.manual_seed(3)
    teacher = freeze(create("timm:test_resnet", 10, 32, options={"stem_type": "deep"}))
    method = SimKD.Config().build(lambda: create("timm:test_resnet", 10, 32, options={"avg_down": True}), [teacher])
    (network,) = method.eval().networks().values()
    write_student(Folder(tmp_path), network, recipe, tuple("0123456789"))
    deployed = open_deployed(Folder(tmp_path), recipe)
    assert deployed.about.options == {"student.avg_down": True, "teacher.stem_type": "deep"}
    write_onnx(deployed, tmp_path / "student.onnx", OnnxOptions())
    images = torch.randn(3, 3, 32, 32)
    (found,) = session(tmp_path / "student.onnx").run(None, {"images": images.numpy()})
    assert torch.allclose(torch.from_numpy(found), network(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--to", "s.pt2", "--preprocess"], "--preprocess requires --to FILE.onnx"),
        (["--to", "s.onnx", "--max-loss", "1"], "--max-loss and --calibration require --to FILE.int8.onnx"),
        (["--to", "student"], "suffix"),
    ],
)
def test_invalid_export_options_are_rejected(digits, words, said, capsys):
    assert main(["export", digits.location, *words]) == 2
    assert said in capsys.readouterr().err


def test_the_graph_with_preprocessing_needs_only_onnxruntime_and_pillow(folder_run, images, tmp_path):
    """In a process in which torch and raykd can't be imported."""
    assert (
        main(
            ["export", folder_run.location, *at_hand(folder_run), "--to", str(tmp_path / "whole.onnx"), "--preprocess"]
        )
        == 0
    )
    picture = sorted((images / "val").rglob("*.jpg"))[0]
    program = f"""
import sys
sys.modules |= dict.fromkeys(("torch", "raykd", "onnx", "torchvision"))
import json, numpy, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession({str(tmp_path / "whole.onnx")!r})
pixels = numpy.asarray(Image.open({str(picture)!r}).convert("RGB"))[None]
(probabilities,) = session.run(None, {{"pixels": pixels}})
classes = json.loads(session.get_modelmeta().custom_metadata_map["raykd.classes"])
print(classes[probabilities[0].argmax()], probabilities.sum())
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    name, total = done.stdout.split()
    assert name in ("coarse", "fine", "middle") and float(total) == pytest.approx(1, abs=1e-5)

"""`raykd export RUN --to DIR/`: a folder that timm loads, with a model card that the hub reads."""

import json

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image

from raykd.__main__ import main
from raykd.deploy.folder import timm_data
from raykd.runs.recipe import recipe_of
from raykd.runs.student import read_student
from raykd.storage.atomic import filling
from tests.deploy.conftest import at_hand


@pytest.fixture(scope="module")
def folder(folder_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("folder") / "gratings"
    assert main(["export", folder_run.location, *at_hand(folder_run), "--to", f"{path}/"]) == 0
    return path


def test_timm_loads_network_classes_and_transform(folder, folder_run, images):
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    network, about = read_student(folder_run)
    assert model.pretrained_cfg["label_names"] == ["coarse", "fine", "middle"] and "license" not in model.pretrained_cfg
    transform = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
    picture = Image.open(sorted((images / "val").rglob("*.jpg"))[7]).convert("RGB")
    found = transform(picture)
    width, height = picture.size
    sides = (56 * width // min(width, height), 56 * height // min(width, height))
    left, top = (round((side - 48) / 2) for side in sides)
    small = picture.resize(sides, Image.Resampling.BILINEAR).crop((left, top, left + 48, top + 48))
    wanted = (np.asarray(small) / 255 - about.mean) / about.std
    assert np.abs(found.numpy() - wanted.transpose(2, 0, 1)).max() < 1e-5
    with torch.inference_mode():
        assert torch.equal(model(found[None]), network.model.eval()(found[None]))


@pytest.mark.parametrize("size, resized", [(224, 256), (48, 56), (299, 342), (64, 73)])
def test_timm_resizes_to_the_same_size(folder_run, size, resized):
    from dataclasses import replace

    from raykd.data.transforms import CenterCrop, Resize

    data = replace(recipe_of(folder_run).data, image_size=size, test=(Resize(size=resized), CenterCrop()))
    assert int(size / timm_data(data)["crop_pct"]) == resized


def test_the_model_card_contains_the_measured_values(folder, folder_run):
    card, result = ModelCard.load(folder / "README.md"), json.loads(folder_run.read("result.json"))
    assert card.data.library_name == "timm" and card.data.pipeline_tag == "image-classification"
    (figure,) = card.data.eval_results
    assert (figure.metric_type, figure.metric_value) == ("accuracy", round(result["top1"], 4))
    for said in (
        "test_resnet of timm that tells 3 classes apart in images of 48×48",
        "coarse, fine, middle",
        "the shorter side resized to 56 pixels",
        f"| this network | {100 * result['top1']:.2f} % |",
        f"{result['parameters']:,}",
        "On 24 images of the test split",
        "seed 0",
    ):
        assert said in card.text, said


def test_raykds_own_networks_are_exported_as_folders(digits, tmp_path):
    assert main(["export", digits.location, "--to", f"{tmp_path}/made/new/"]) == 0
    card = (tmp_path / "made/new/README.md").read_text()
    assert 'create("resnet8", 10, 32, weights="new/model.safetensors")' in card
    assert json.loads((tmp_path / "made/new/raykd.json").read_text())["raykd.network"] == "resnet8"


def test_a_non_empty_folder_is_left_unchanged(digits, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["export", digits.location, "--to", str(tmp_path)]) == 2
    assert "already exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_is_written_completely_or_not_at_all(tmp_path):
    with pytest.raises(OSError, match="full"), filling(tmp_path / "new") as folder:
        (folder / "half").write_text("half")
        raise OSError("full")
    assert not list(tmp_path.iterdir())
    with filling(tmp_path / "new") as folder:
        (folder / "whole").write_text("whole")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new/whole").read_text() == "whole" and len(list(tmp_path.iterdir())) == 1

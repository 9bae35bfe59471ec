"""student.safetensors: its header is validated before a network is built from it."""

import json

import pytest
import torch
from safetensors.torch import save

from raykd import UserError
from raykd.models import create
from raykd.runs.student import about_if_any, read_student
from raykd.storage.folder import Folder

ABOUT = {"network": "resnet8", "classes": ["a", "b"], "image_size": 32, "mean": [0.5] * 3, "std": [0.5] * 3}


def write(folder, **changes):
    state = {key: tensor.contiguous() for key, tensor in create("resnet8", 2, 32).model.state_dict().items()}
    about = {key: value for key, value in (ABOUT | changes).items() if value is not None}
    (folder / "student.safetensors").write_bytes(save(state, metadata={"raykd": json.dumps(about)}))
    return Folder(folder)


def test_fields_of_later_versions_are_ignored(tmp_path):
    network, about = read_student(write(tmp_path, more=3))
    assert about.classes == ("a", "b") and about.mean == (0.5, 0.5, 0.5)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"network": 5}, "network: Input should be a valid string"),
        ({"network": None}, "network: Field required"),
        ({"classes": "ab"}, "classes: Input should be a valid array"),
        ({"classes": []}, "classes: "),
        ({"image_size": "32"}, "image_size: "),
        ({"image_size": 0}, "image_size: "),
        ({"image_size": 10**9}, "image_size: "),
        ({"mean": [0.5]}, "mean"),
        ({"mean": [0.5, 0.5, float("nan")]}, "mean.2"),
        ({"std": [0.5, 0.5, 0.0]}, "std.2"),
        ({"options": ["width", 1]}, "options: "),
        ({"stages": "layer1"}, "stages: "),
    ],
)
def test_impossible_values_are_rejected(tmp_path, changes, says):
    run = write(tmp_path, **changes)
    with pytest.raises(UserError, match=f"student.safetensors, the description of its network: {says}"):
        read_student(run)


def test_foreign_weights_have_no_description_and_damaged_ones_are_named(tmp_path):
    path = tmp_path / "student.safetensors"
    path.write_bytes(save({"a": torch.ones(2)}))
    assert about_if_any(path) is None
    path.write_bytes(save({"a": torch.ones(2)}, metadata={"raykd": "{"}))
    with pytest.raises(UserError, match="the description of its network: Invalid JSON"):
        about_if_any(path)
    path.write_bytes(b"damaged")
    with pytest.raises(UserError, match="is not a student that raykd wrote, or it is damaged"):
        read_student(Folder(tmp_path))

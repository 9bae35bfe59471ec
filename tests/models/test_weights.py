"""Weights files: written files are read back; others are rejected in one line."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raykd import UserError
from raykd.models import create
from raykd.models.weights.load import load_weights


def network(name="resnet8", num_classes=5, seed=0):
    torch.manual_seed(seed)
    made = create(name, num_classes, 16)
    for buffer in made.buffers():  # statistics as of a trained network
        buffer.add_(torch.rand(buffer.shape).to(buffer.dtype))
    return made


def equal(a, b, except_for="nothing"):
    a, b = a.model.state_dict(), b.model.state_dict()
    return all(torch.equal(a[key], b[key]) for key in a if not key.startswith(except_for))


def save(network, path):
    save_file(network.model.state_dict(), path)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "best_acc": torch.tensor(0.7), "optimizer": {"state": {}}},
        lambda state: {"model_state": state},
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {"model": {f"module._orig_mod.{key}": tensor for key, tensor in state.items()}},
        lambda state: {f"model.{key}": tensor for key, tensor in state.items()},
        lambda state: {key: tensor for key, tensor in state.items() if "num_batches" not in key},
    ],
)
def test_checkpoints_of_training_scripts_are_read(tmp_path, wrap):
    saved, path = network(), tmp_path / "checkpoint.pth"
    torch.save(wrap(dict(saved.model.state_dict())), path)
    assert equal(create("resnet8", 5, 16, weights=str(path)), saved, except_for="nothing")


def test_the_classifier_can_be_excluded(tmp_path):
    saved, path = network(num_classes=9), tmp_path / "other.safetensors"
    save(saved, path)
    with pytest.raises(UserError, match=r"other.safetensors has 9 classes, but resnet8 has 5 here: .*#backbone"):
        create("resnet8", 5, 16, weights=str(path))
    torch.manual_seed(3)
    fresh = create("resnet8", 5, 16)
    torch.manual_seed(3)
    adapted = create("resnet8", 5, 16, weights=f"{path}#backbone")
    assert equal(adapted, saved, except_for="fc")
    assert torch.equal(adapted.model.fc.weight, fresh.model.fc.weight)


def test_differences_between_file_and_network_are_named(tmp_path):
    path, other = tmp_path / "other.safetensors", network("resnet14")
    save(other, path)
    with pytest.raises(UserError, match=r"other.safetensors does not fit resnet8: .*unexpected: layer1\.1\.\S+, .* …"):
        load_weights(network(), path)
    save(network(), path)
    with pytest.raises(UserError, match=r"does not fit resnet14: .*missing: layer1\.1\."):
        load_weights(network("resnet14"), path)
    save(network("resnet8x4"), path)
    with pytest.raises(
        UserError, match=r"of another shape: conv1\.weight is \[32, 3, 3, 3\] instead of \[16, 3, 3, 3\]"
    ):
        load_weights(network().model, path)


def test_a_rejected_file_leaves_the_network_unchanged(tmp_path):
    path, kept, before = tmp_path / "other.safetensors", network(), network()
    save(network("resnet8x4", seed=5), path)
    with pytest.raises(UserError):
        load_weights(kept, path)
    assert equal(kept, before)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".npz"])
def test_truncated_and_foreign_files_are_rejected_in_one_line(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".safetensors":
        save(network(), whole)
    elif suffix == ".pth":
        torch.save(network().model.state_dict(), whole)
    else:
        np.savez(whole, **{"resnet/head/conv2d/bias": np.zeros(1000)})
    content = whole.read_bytes()
    for name, bad in (("cut", content[: len(content) // 2]), ("foreign", b"<!DOCTYPE html>" * 99), ("empty", b"")):
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(bad)
        with pytest.raises(UserError, match=f"{name}{suffix}.*(truncated|safely)") as caught:
            load_weights(network(), path)
        assert "\n" not in str(caught.value)


class Surprise:
    """Unpickling it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_unpickled(tmp_path):
    torch.save({"state_dict": Surprise(tmp_path / "touched")}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match="evil.pth can't be loaded safely"):
        load_weights(network(), tmp_path / "evil.pth")
    np.savez(tmp_path / "evil.npz", a=np.array([Surprise(tmp_path / "touched")], dtype=object))
    with pytest.raises(UserError, match="evil.npz"):
        load_weights(network(), tmp_path / "evil.npz")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [({"epoch": 3}, "no state_dict"), ([1, 2], "no state_dict"), ({}, "no state_dict")],
)
def test_a_file_without_a_network_is_rejected(tmp_path, content, message):
    torch.save(content, tmp_path / "log.pth")
    with pytest.raises(UserError, match=message):
        load_weights(network(), tmp_path / "log.pth")


def test_missing_and_unsupported_files_are_rejected():
    with pytest.raises(UserError, match="no such weights file"):
        create("resnet8", 5, 16, weights="nowhere.pth")
    with pytest.raises(UserError, match=r"\.onnx"):
        create("resnet8", 5, 16, weights="model.onnx")


def bit_arrays(num_classes, seed=0):
    """Random arrays under the names and in the layout (HWIO) of the published BiT-R50x1 files."""
    rng = np.random.default_rng(seed)
    arrays = {"root_block/standardized_conv2d/kernel": rng.normal(size=(7, 7, 3, 64))}

    def norm(where, channels):
        arrays[f"{where}group_norm/gamma"], arrays[f"{where}group_norm/beta"] = rng.normal(size=(2, channels))

    inside = 64
    for block, (depth, planes) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for unit in range(1, depth + 1):
            where = f"block{block}/unit{unit:02d}"
            widths = {"a": (inside, planes, 1), "b": (planes, planes, 3), "c": (planes, 4 * planes, 1)}
            for branch, (i, o, k) in widths.items():
                arrays[f"{where}/{branch}/standardized_conv2d/kernel"] = rng.normal(size=(k, k, i, o))
                norm(f"{where}/{branch}/", i)
            if unit == 1:
                arrays[f"{where}/a/proj/standardized_conv2d/kernel"] = rng.normal(size=(1, 1, inside, 4 * planes))
            inside = 4 * planes
    norm("", inside)
    arrays["head/conv2d/kernel"] = rng.normal(size=(1, 1, inside, num_classes))
    arrays["head/conv2d/bias"] = rng.normal(size=num_classes)
    return {f"resnet/{name}": array.astype(np.float32) for name, array in arrays.items()}


def test_bit_files_are_read_like_timm(tmp_path):
    path = tmp_path / "BiT-R50x1.npz"
    np.savez(path, **bit_arrays(21))
    name = "timm:resnetv2_50x1_bit"
    reference = create(name, 21, 32)
    reference.model.load_pretrained(str(path))
    assert equal(create(name, 21, 32, weights=str(path)), reference)
    with pytest.raises(UserError, match=r"BiT-R50x1.npz.*21 classes.*5"):
        create(name, 5, 32, weights=str(path))
    assert equal(create(name, 5, 32, weights=f"{path}#backbone"), reference, except_for="head.fc")
    with pytest.raises(UserError, match="does not fit resnet8"):
        load_weights(network(), path)


def test_checkpoints_of_a_networks_authors_are_converted_by_timm(tmp_path):
    """As DINOv2's: with a mask token, which no classifier has, and positions of another image size."""
    path, saved = tmp_path / "dino.pth", create("timm:test_vit", 5, 32)
    state = dict(saved.model.state_dict())
    torch.save({"model": state | {"mask_token": torch.zeros(1, state["cls_token"].shape[-1])}}, path)
    loaded = create("timm:test_vit", 5, 64, weights=str(path))
    assert loaded.weights_taken == "'model', converted by timm"
    found, positions = loaded.model.state_dict(), state.pop("pos_embed")
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())
    grid = positions[:, 1:].transpose(1, 2).unflatten(2, (2, 2))
    wanted = torch.nn.functional.interpolate(grid, (4, 4), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    torch.testing.assert_close(found["pos_embed"], torch.cat([positions[:, :1], wanted], 1))
    with pytest.raises(UserError, match=r"does not fit timm:test_vit: .*missing: "):
        save(network(), path)
        create("timm:test_vit", 5, 64, weights=str(path))

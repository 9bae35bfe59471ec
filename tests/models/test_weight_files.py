"""Checkpoints of other projects: what is loaded is reported, and none of their code runs."""

import argparse
import contextlib
import pathlib
import pickle
import random
import re
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch

from raykd import UserError
from raykd.models import create
from raykd.models.weights.load import load_weights
from tests.faults.fuzz import damaged


def network(name="resnet8", classes=5, seed=0):
    torch.manual_seed(seed)
    made = create(name, classes, 16)
    for buffer in made.buffers():  # statistics as of a trained network
        buffer.add_(torch.rand(buffer.shape).to(buffer.dtype))
    return made


def behind(prefix, state):
    return {prefix + key: tensor for key, tensor in state.items()}


WANTED, OTHER = (dict(network(seed=seed).model.state_dict()) for seed in (0, 1))
CHECKPOINTS = {
    "plain.pth": (WANTED, ""),
    "UPPER.PTH": (WANTED, ""),
    "model.pth.tar": ({"state_dict": behind("module.", WANTED), "arch": "resnet8"}, "'state_dict', .*'module.'"),
    "last.ckpt": (
        {"state_dict": behind("model.", WANTED), "hparams": {"lr": 0.1}},
        "'state_dict', .*'model.'",
    ),
    "no-suffix": ({"net": WANTED, "acc": np.float64(93.2), "epoch": np.int64(3)}, "'net'"),
    "args.pt": ({"model": WANTED, "args": argparse.Namespace(lr=0.1, out=pathlib.PosixPath("/tmp"))}, "'model'"),
    "ema.bin": ({"state_dict": OTHER, "state_dict_ema": WANTED}, "'state_dict_ema'"),
    "distilled.pth": ({"student": WANTED, "teacher": OTHER}, "'student'"),
    "one-dictionary.pth": (behind("student.", WANTED) | behind("teacher.", OTHER), "after 'student.'"),
    "detector.pth": ({"model": behind("backbone.", WANTED) | {"neck.weight": torch.zeros(3)}}, "after 'backbone.'"),
    "nested.pth": (
        {"checkpoint": {"model": {"state_dict": behind("module._orig_mod.", WANTED)}}},
        "_orig_mod.'",
    ),
    "optimizer.pth": ({"model": WANTED, "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}}}, "'model'"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_are_recognised_by_their_content(tmp_path, name, zipped):
    content, taken = CHECKPOINTS[name]
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    made = network(seed=2)
    said = load_weights(made, tmp_path / name)
    assert all(torch.equal(tensor, WANTED[key]) for key, tensor in made.model.state_dict().items())
    assert re.search(taken, said) if taken else said == ""


def test_ambiguous_files_are_rejected(tmp_path):
    torch.save({"first": WANTED, "second": OTHER}, tmp_path / "both.pth")
    with pytest.raises(UserError, match=r"several networks that fit \('first' and 'second'\)"):
        load_weights(network(), tmp_path / "both.pth")


def test_repdistiller_teachers_can_be_loaded(tmp_path):
    """What its train_teacher.py saves: the epoch, the network under "model", the accuracy, the optimizer."""
    made = network("wrn_16_2", classes=100)
    state = OrderedDict(made.model.state_dict())
    optimizer = torch.optim.SGD(made.model.parameters(), lr=0.1, momentum=0.9).state_dict()
    content = {"epoch": 240, "model": state, "best_acc": torch.tensor(75.6), "optimizer": optimizer}
    torch.save(content, tmp_path / "ckpt_epoch_240.pth")
    loaded = create("wrn_16_2", 100, 32, weights=str(tmp_path / "ckpt_epoch_240.pth"))
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.model.state_dict().items())
    assert loaded.weights_taken == "'model'"


def big_vision_arrays(classes):
    """Random arrays under the names and shapes of big_vision's own BiT-R50x1 (bit_paper.py), flattened by "/"."""
    rng = np.random.default_rng(0)
    arrays = {"root_block/conv_root/kernel": rng.normal(size=(7, 7, 3, 64))}

    def norm(where, channels):
        for part in ("scale", "bias"):
            arrays[f"{where}/{part}"] = rng.normal(size=(1, 1, 1, channels))

    inside = 64
    for block, (depth, planes) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for unit in range(1, depth + 1):
            where = f"block{block}/unit{unit:02d}"
            widths = ((inside, planes, 1), (planes, planes, 3), (planes, 4 * planes, 1))
            for i, (before, after, kernel) in enumerate(widths, start=1):
                arrays[f"{where}/conv{i}/kernel"] = rng.normal(size=(kernel, kernel, before, after))
                norm(f"{where}/gn{i}", before)
            if unit == 1:
                arrays[f"{where}/conv_proj/kernel"] = rng.normal(size=(1, 1, inside, 4 * planes))
            inside = 4 * planes
    norm("norm-pre-head", inside)
    arrays |= {"head/kernel": rng.normal(size=(inside, classes)), "head/bias": rng.normal(size=classes)}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


@pytest.mark.parametrize("prefix", ["", "params/"])
def test_big_vision_teachers_can_be_loaded(tmp_path, prefix):
    arrays = big_vision_arrays(5)
    np.savez(tmp_path / "bit.npz", **{prefix + name: array for name, array in arrays.items()})
    state = create("timm:resnetv2_50x1_bit", 5, 32, weights=str(tmp_path / "bit.npz")).model.state_dict()
    kernel = arrays["block3/unit02/conv2/kernel"]
    np.testing.assert_array_equal(state["stages.2.blocks.1.conv2.weight"], kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(state["stages.1.blocks.0.norm3.bias"], arrays["block2/unit01/gn3/bias"].reshape(-1))
    np.testing.assert_array_equal(state["head.fc.weight"][:, :, 0, 0], arrays["head/kernel"].T)


class Surprise:
    """Unpickling it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_unpickling_never_runs_code(tmp_path, zipped):
    content = {"model": WANTED, "args": argparse.Namespace(hook=Surprise(tmp_path / "touched"))}
    torch.save(content, tmp_path / "evil.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match="evil.ckpt can't be loaded safely"):
        load_weights(network(), tmp_path / "evil.ckpt")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("seed", range(3))
def test_randomly_damaged_files_are_rejected_in_one_line(tmp_path, seed):
    """safetensors, both formats of torch, and npz."""
    draw = random.Random(seed)
    state = {"weight": torch.arange(600.0).reshape(20, 30), "bias": torch.ones(20)}
    makers = (
        lambda path: safetensors.torch.save_file(state, path),
        lambda path: torch.save({"state_dict": state, "epoch": 3}, path),
        lambda path: torch.save(state, path, _use_new_zipfile_serialization=False),
        lambda path: np.savez_compressed(path, **{"head/kernel": np.ones((3, 4)), "params/x": np.array(["a"], "O")}),
    )
    for number, make in enumerate(makers):
        path = tmp_path / f"w{number}.npz"
        make(path)
        whole = path.read_bytes()
        for _ in range(40):
            path.write_bytes(damaged(whole, draw))
            with contextlib.suppress(UserError):
                load_weights(torch.nn.Linear(30, 20), path)


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64])
def test_weights_of_another_type_are_rejected(tmp_path, kind):
    """Quantised weights without their scales would load as whole numbers."""
    torch.save({"weight": torch.ones(20, 30, dtype=kind), "bias": torch.ones(20)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=f"1 of another type: weight is {kind} instead of torch.float32"):
        load_weights(torch.nn.Linear(30, 20), tmp_path / "w.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_with_nan_or_infinity_are_rejected(tmp_path, value):
    """1e300, a number of 64 bits, is infinite in 32."""
    torch.save({"weight": torch.full((20, 30), value, dtype=torch.float64), "bias": torch.ones(20)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w.pt has NaN or infinity in 1 tensor\(s\), such as weight"):
        load_weights(torch.nn.Linear(30, 20), tmp_path / "w.pt")
    norm, wrong = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3).double()
    wrong.running_var.fill_(value)
    torch.save(wrong.state_dict(), tmp_path / "norm.pt")
    with pytest.raises(UserError, match="such as running_var"):
        load_weights(norm, tmp_path / "norm.pt")


def test_tensors_without_values_are_rejected(tmp_path):
    torch.save(torch.nn.Linear(30, 20, device="meta").state_dict(), tmp_path / "w.pt")
    with pytest.raises(UserError, match="w.pt can't be loaded: .*meta"):
        load_weights(torch.nn.Linear(30, 20), tmp_path / "w.pt")


def npy(shape: str, content: bytes = b"", descr: str = "<f4") -> bytes:
    """A .npy file with a given header."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a": npy("(1,)", pickle.dumps(np.array([1], object)), "|O")}, "allow_pickle=False"),
        ({"a": npy("(1000000000000, 1000)")}, "Unable to allocate"),
        ({"a": npy("(-1, 3)")}, "negative"),
        ({"a": npy("(2,)", bytes(32), "<U4")}, "can't convert"),
        ({"a": npy("(2,)", bytes(4))}, "truncated"),
        ({"a": b"no array"}, "truncated"),
        ({"head/kernel": npy("(2,)", bytes(8)), "params/head/kernel": npy("(2,)", bytes(8))}, "head.fc.weight twice"),
        ({"a": npy("(100000000,)", bytes(4 * 10**8))}, "unpack to"),
    ],
    ids=["objects", "huge", "negative", "text", "short", "no array", "twice", "bomb"],
)
def test_malicious_npz_files_are_rejected_in_one_line(tmp_path, arrays, says):
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    with pytest.raises(UserError, match=f"w.npz .*{says}"):
        load_weights(torch.nn.Linear(30, 20), tmp_path / "w.npz")


def test_npz_files_of_the_other_byte_order_load(tmp_path):
    layer = torch.nn.Linear(30, 20)
    weight = np.random.default_rng(0).normal(size=(20, 30)).astype(">f4")
    np.savez(tmp_path / "w.npz", weight=weight, bias=np.zeros(20, ">f4"))
    load_weights(layer, tmp_path / "w.npz")
    np.testing.assert_array_equal(layer.weight.detach().numpy(), weight.astype("<f4"))

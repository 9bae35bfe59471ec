"""Every CIFAR network against the numbers of its authors' own code: structure, outputs, gradients, initialisation.

Files 05_models_* and 13: `B_*` under the rule of tests/golden_rules.py, `init/param_check` the sum and absolute sum of
every parameter as the authors initialise it. A feature's check is [mean, deviation, absolute sum, first 16 values].
"""

import re

import numpy as np
import pytest
import torch

from raykd.models import create
from tests.golden_rules import fill_rule_b, images, stream_offset
from tests.support import golden

FILES = ("05_models_camkd", "05_models_okddip", "05_models_teskd", "13_more_networks")
GOLDEN = {key: x for file in FILES for key, x in golden.load(file).items()}
PRESENT = golden.names(GOLDEN)
THREE = {"feat0": "stem", "feat1": "stage1", "feat2": "stage2", "feat3": "stage3", "feat4": "pooled"}
FOUR = THREE | {"feat4": "stage4", "feat5": "pooled"}
RENAMED = {
    "MobileNetV2": "mobilenetv2_half",
    "ShuffleV1": "shufflenetv1",
    "ShuffleV2": "shufflenetv2",
    "plain_resnet32": "resnet32",
    "plain_resnet110": "okddip_resnet110",
    "plain_wide_resnet20_8": "okddip_wide_resnet20_8",
    "plain_vgg16": "okddip_vgg16",
    "plain_vgg19": "okddip_vgg19",
    "plain_densenetd40k12": "densenet_bc_40_12",
    "plain_densenetd100k12": "densenet_bc_100_12",
}
TESKD = {
    "cifarresnet18": "cifar_resnet18",
    "cifarresnet34": "cifar_resnet34",
    "structonly_cifarresnet34": "cifar_resnet34",
    "structonly_cifarresnet50": "cifar_resnet50",
    "imagenet_resnet18": "torchvision:resnet18",
}


def split(case):
    """The authors' name of a case's network, and its number of classes."""
    name, classes = re.match(r"(.+?)_c(\d+)", case).groups()
    return name, int(classes)


def features_of(name):
    if name.startswith(("plain_", "imagenet_")):
        return {}
    if name.endswith("_imagenet"):  # the authors read these maps inside the blocks
        return {"feat5": "pooled"}
    return FOUR if name.startswith(("vgg", "MobileNet", "wide_")) else THREE


def create_as(name, classes, size):
    options = {"dropout": 0.0} if name.endswith("_imagenet") else {}
    return create(RENAMED.get(name, name), classes, size, options=options)


# Branches in one network (GL_, one_, …) are methods here: their five-step runs are compared.
CASES = [case for case in PRESENT if re.match("resnet|wrn|vgg|MobileNet|Shuffle|plain|wide|imagenet_wide", case)]
STRUCTURES = [case for case in PRESENT if case.startswith("structonly_densenet")]
LARGE = [case for case in CASES if GOLDEN[f"{case}/struct/n_params"] > 50_000_000]
SOME_SLOW = [pytest.param(case, marks=pytest.mark.slow) if case in LARGE else case for case in CASES]
BACKBONES = [case for case in PRESENT if split(case)[0] in TESKD]


def sums(tensors):
    return np.array([[x.sum().item(), x.abs().sum().item()] for x in tensors])


def relative(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


def shapes(network):
    return "\n".join("x".join(map(str, p.shape)) for p in network.model.parameters())


@pytest.mark.parametrize("case", STRUCTURES)
def test_golden_structure_is_equal(case):
    name, classes = split(case.removeprefix("structonly_"))
    network = create(name, classes, 32)
    assert shapes(network) == str(GOLDEN[f"{case}/struct/shapes"])


@pytest.mark.parametrize("case", SOME_SLOW)
def test_golden_network_is_exact(case):
    (name, classes), offset = split(case), stream_offset(GOLDEN, case)
    features = features_of(name)
    golden = {key.removeprefix(f"{case}/"): x for key, x in GOLDEN.items() if key.startswith(f"{case}/")}
    network = create_as(name, classes, int(golden["hp/H"]))
    assert sum(p.numel() for p in network.parameters()) == golden["struct/n_params"]
    assert shapes(network) == str(golden["struct/shapes"])

    fill_rule_b(network, offset)
    x = images(int(golden["hp/B"]), int(golden["hp/H"]), offset + 7)
    np.testing.assert_allclose(sums(network.parameters()), golden["B/param_check"], rtol=1e-12, atol=1e-9)
    with torch.no_grad():
        output = network.eval().output(x, features.values())
    assert relative(output.logits, golden["B_eval/logits"]) < 1e-12
    for theirs, ours in features.items():
        feature = output.features[ours]
        assert tuple(feature.shape) == tuple(golden[f"B_eval/{theirs}/shape"])
        check = [feature.mean(), feature.std(correction=0), feature.abs().sum(), *feature.flatten()[:16]]
        np.testing.assert_allclose(check, golden[f"B_eval/{theirs}/check"], rtol=1e-11, atol=1e-12)

    logits = network.train()(x)
    assert relative(logits.detach(), golden["B_train/logits"]) < 1e-12
    (logits.flatten() * torch.cos(0.7 * torch.arange(logits.numel(), dtype=torch.float64))).sum().backward()
    running = [buffer for name, buffer in network.named_buffers() if "running" in name]
    np.testing.assert_allclose(sums(running), golden["B_train/buffers_after_check"], rtol=1e-11, atol=1e-10)
    if "B_train/param_grad_check" in golden:
        expect_gradients(network, golden["B_train/param_grad_check"])


def expect_gradients(network, golden):
    """Sums and absolute sums of every gradient; those of biases before a BN are 0 except for rounding."""
    error = np.abs(sums(p.grad for p in network.parameters()) - golden[:, 1:]).max(1)
    assert (error <= 1e-9 * golden[:, 2] + 1e-12 * golden[:, 2].max()).all()


@pytest.mark.parametrize("case", BACKBONES)
def test_golden_teskd_backbone_is_exact(case):
    (name, classes), offset = split(case), stream_offset(GOLDEN, case)
    measured = f"{case}/B_eval/out" in GOLDEN
    network = create(TESKD[name], classes, int(GOLDEN[f"{case}/hp/H"]) if measured else 32)
    # The sub-networks come behind the backbone.
    assert str(GOLDEN[f"{case}/struct/shapes"]).startswith(shapes(network) + "\n")
    if not measured:
        return
    fill_rule_b(network, offset)
    x = images(int(GOLDEN[f"{case}/hp/B"]), int(GOLDEN[f"{case}/hp/H"]), offset + 7)
    for mode in ("B_eval", "B_train"):
        with torch.no_grad():
            output = network.train(mode == "B_train").output(x, {"pooled"})
        assert relative(output.logits, GOLDEN[f"{case}/{mode}/out"]) < 1e-12
        assert relative(output.features["pooled"], GOLDEN[f"{case}/{mode}/final_fea"].squeeze((2, 3))) < 1e-12


@pytest.mark.parametrize("case", [*SOME_SLOW, *(case for case in BACKBONES if case.startswith("cifarresnet18"))])
def test_golden_initial_parameters_have_the_same_distribution(case):
    torch.manual_seed(0)
    name, classes = split(case)
    network = create({**RENAMED, **TESKD}.get(name, name), classes, 32)
    for (name, p), (total, size) in zip(network.named_parameters(), GOLDEN[f"{case}/init/param_check"], strict=False):
        if total in (0, p.numel()):  # BN, and biases set to 0
            assert (p == total / p.numel()).all(), name
            continue
        # Two independent samples: six standard errors of mean |x|, which is 0.76 mean |x| or less for one value.
        assert abs(p.abs().sum().item() - size) < 6 * 0.76 * (2 / p.numel()) ** 0.5 * size, name

"""Every CIFAR network against the numbers of its authors' own code: structure, outputs, gradients, initialisation.

golden/models.npz: `B_*` under the rule of tests/golden_rules.py, `init/param_check` the sum and absolute sum of every
parameter as the authors initialise it. A feature's check is [mean, deviation, absolute sum, its first 16 values].
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from raykd.models import create
from tests.golden_rules import fill_rule_b, images

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "models.npz")
THREE = {"feat0": "stem", "feat1": "stage1", "feat2": "stage2", "feat3": "stage3", "feat4": "pooled"}
FOUR = THREE | {"feat4": "stage4", "feat5": "pooled"}
CASES = {
    **{f"{n}_c100": (n, THREE) for n in ("resnet8", "resnet20", "resnet56", "resnet8x4", "resnet20x4", "resnet32x4")},
    **{f"{n}_c100": (n, THREE) for n in ("wrn_16_2", "wrn_40_2")},
    **{f"{n}_c100": (n, FOUR) for n in ("vgg8", "vgg13")},
    "MobileNetV2_c100": ("mobilenetv2_half", FOUR),
    "ShuffleV1_c100": ("shufflenetv1", THREE),
    "ShuffleV2_c100": ("shufflenetv2", THREE),
    "plain_resnet32_c10": ("resnet32", {}),
    "plain_resnet110_c10": ("okddip_resnet110", {}),
    "plain_wide_resnet20_8_c10": ("okddip_wide_resnet20_8", {}),
    "plain_vgg16_c10_drop0": ("okddip_vgg16", {}),
    "plain_densenetd40k12_c10": ("densenet_bc_40_12", {}),
}
TESKD = {
    "cifarresnet18_c10": "cifar_resnet18",
    "structonly_cifarresnet34_c100": "cifar_resnet34",
    "structonly_cifarresnet50_c100": "cifar_resnet50",
    "imagenet_resnet18_c10": "torchvision:resnet18",
}


def classes(case):
    return int(case.split("_c")[-1].split("_")[0])


def sums(tensors):
    return np.array([[x.sum().item(), x.abs().sum().item()] for x in tensors])


def relative(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


def shapes(network):
    return "\n".join("x".join(map(str, p.shape)) for p in network.model.parameters())


@pytest.mark.parametrize("case", CASES)
def test_network_equals_the_authors(case):
    name, features = CASES[case]
    golden = {key.removeprefix(f"{case}/"): GOLDEN[key] for key in GOLDEN.files if key.startswith(f"{case}/")}
    network = create(name, classes(case), int(golden["hp/H"]))
    assert sum(p.numel() for p in network.parameters()) == golden["struct/n_params"]
    assert shapes(network) == str(golden["struct/shapes"])

    fill_rule_b(network)
    x = images(int(golden["hp/B"]), int(golden["hp/H"]))
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
    expect_gradients(network, golden["B_train/param_grad_check"])


def expect_gradients(network, golden):
    """Sums and absolute sums of every gradient; biases in front of a BN have none, and hold rounding alone."""
    error = np.abs(sums(p.grad for p in network.parameters()) - golden[:, 1:]).max(1)
    assert (error <= 1e-9 * golden[:, 2] + 1e-12 * golden[:, 2].max()).all()


@pytest.mark.parametrize("case", TESKD)
def test_teskd_backbone_equals_the_authors(case):
    network = create(TESKD[case], classes(case), 64 if "imagenet" in case else 32)
    assert shapes(network) == str(GOLDEN[f"{case}/struct/shapes"])
    if f"{case}/B_eval/out" not in GOLDEN.files:
        return
    fill_rule_b(network)
    x = images(int(GOLDEN[f"{case}/hp/B"]), int(GOLDEN[f"{case}/hp/H"]))
    for mode in ("B_eval", "B_train"):
        with torch.no_grad():
            output = network.train(mode == "B_train").output(x, {"pooled"})
        assert relative(output.logits, GOLDEN[f"{case}/{mode}/out"]) < 1e-12
        assert relative(output.features["pooled"], GOLDEN[f"{case}/{mode}/final_fea"].squeeze((2, 3))) < 1e-12


@pytest.mark.parametrize("case", [*CASES, "cifarresnet18_c10"])
def test_fresh_parameters_have_the_authors_distribution(case):
    torch.manual_seed(0)
    network = create(CASES[case][0] if case in CASES else TESKD[case], classes(case), 32)
    for (name, p), (total, size) in zip(network.named_parameters(), GOLDEN[f"{case}/init/param_check"], strict=True):
        if total in (0, p.numel()):  # BN, and biases set to 0
            assert (p == total / p.numel()).all(), name
            continue
        # Two independent samples: six standard errors of mean |x|, which is 0.76 mean |x| or less for one value.
        assert abs(p.abs().sum().item() - size) < 6 * 0.76 * (2 / p.numel()) ** 0.5 * size, name

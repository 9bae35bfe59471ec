"""TESKD's networks with their student sub-networks, and two of its training steps, against the authors' own numbers."""

import re
from functools import cache

import numpy as np
import pytest
import torch

from raykd.contract import Batch
from raykd.methods.teskd import TESKD
from raykd.models import create
from tests.golden_rules import fill_rule_b, images, stream_offset
from tests.methods.trajectories import stream_of
from tests.support import golden
from tests.support.golden import relative

GOLDEN = golden.load("11_teskd_networks") | golden.load("05_models_teskd") | golden.load("05_models_teskd_heavy")
OWN = re.compile(r"(?:structonly_)?((?:vgg|seresnet|resnext|cifarresnet|imagenet_resnet)\d+)_c(\d+)(?:_\d+)?$")
BUILT = {"imagenet_resnet": "torchvision:resnet", "cifarresnet": "cifar_resnet"}
HEADS = {"out": "backbone", "t_out3": "student3", "t_out2": "student2", "t_out1": "student1"}
CASES = [name for name in golden.names(GOLDEN) if OWN.match(name)]
STEPS = [name for name in golden.names(GOLDEN) if name.startswith("step_")]
HEAVY = re.compile(r"(resnext|seresnet|resnet)50")  # over 400 million parameters with their sub-networks


def built(network: str) -> str:
    family, depth = re.match(r"(\w+?)(\d+)$", network).groups()
    return f"{BUILT.get(family, f'teskd_{family}')}{depth}"


@cache
def set_offset() -> int:
    """What this set of golden numbers adds to every stream."""
    return next((stream_offset(GOLDEN, case) for case in CASES if f"{case}/B/param_check" in GOLDEN), 0)


def distiller_of(network: str, classes: int, size: int) -> TESKD:
    made = TESKD.Config().build(lambda: create(built(network), classes, size), [])
    fill_rule_b(made, lambda name: set_offset() + stream_of(name))
    return made


def heavy_apart(cases: list[str]) -> list:
    return [pytest.param(case, marks=pytest.mark.slow) if HEAVY.search(case) else case for case in cases]


@pytest.mark.parametrize("case", heavy_apart(CASES))
def test_golden_structure_is_equal(case: str):
    """The parameters are the authors': as many, of the same shapes."""
    network, classes = OWN.match(case).groups()
    size = 64 if network.startswith("imagenet") else 32
    made = TESKD.Config().build(lambda: create(built(network), int(classes), size), [])
    shapes = sorted("x".join(map(str, p.shape)) for p in made.parameters())
    assert shapes == sorted(str(GOLDEN[f"{case}/struct/shapes"]).split("\n"))


@pytest.mark.parametrize("case", heavy_apart([case for case in CASES if f"{case}/B_eval/out" in GOLDEN]))
def test_golden_outputs_of_all_heads_are_exact(case: str):
    network, classes = OWN.match(case).groups()
    batch, size = int(GOLDEN[f"{case}/hp/B"]), int(GOLDEN[f"{case}/hp/H"])
    made, x = distiller_of(network, int(classes), size), images(batch, size, set_offset() + 7)
    for phase in ("B_eval", "B_train", "B_eval_after_train"):
        with torch.set_grad_enabled(phase == "B_train" and probed(case)):
            found = made.train(phase == "B_train").predict(x)
        for theirs, ours in HEADS.items():
            if f"{case}/{phase}/{theirs}" in GOLDEN:
                assert relative(found[ours], GOLDEN[f"{case}/{phase}/{theirs}"]) < 1e-10, (phase, theirs)
        if found["backbone"].requires_grad:
            expect_gradients(made, found, GOLDEN[f"{case}/B_train/param_grad_check"])


def probed(case: str) -> bool:
    """Whether golden has only the gradients of the four heads' logits."""
    return f"{case}/B_train/param_grad_check" in GOLDEN and not case.startswith(tuple(BUILT))


def expect_gradients(made: TESKD, found: dict[str, torch.Tensor], golden_sums: np.ndarray) -> None:
    """Absolute sums of all gradients of a probe of the four heads, in order of size."""
    heads = [found[ours] for ours in HEADS.values()]
    probe = [(o.flatten() * torch.cos(0.7 * torch.arange(o.numel(), dtype=torch.float64))).sum() for o in heads]
    sum(probe).backward()
    ours = np.sort([p.grad.abs().sum().item() for p in made.parameters()])
    theirs = np.sort(golden_sums[:, 2])
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8 * theirs.max())


@pytest.mark.usefixtures("as_original")
@pytest.mark.parametrize("case", STEPS)
def test_golden_steps_are_exact(case: str):
    """The parts of the loss before each of two steps, each head's cross-entropy, and all logits after the second."""
    batch, classes = int(GOLDEN[f"{case}/hp/B"]), int(GOLDEN[f"{case}/hp/C"])
    made = distiller_of(case.removeprefix("step_"), classes, 32).train()
    sgd = torch.optim.SGD(made.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    c = made.config
    for k in range(int(GOLDEN[f"{case}/hp/steps"])):
        labels = (7 * torch.arange(batch) + 3 * k) % classes
        data = Batch(images(batch, 32, set_offset() + 20 + k), labels, torch.arange(batch))
        terms = made(data, [], 0.0).terms
        for part, name, weight in (
            ("loss_model", "ce", c.ce),
            ("loss_kd", "kd", c.kd),
            ("loss_fea", "feature", c.feature),
        ):
            assert relative(terms[name] / weight, GOLDEN[f"{case}/loss/{part}"][k]) < 1e-8, (k, part)
        sgd.zero_grad()
        sum(terms.values()).backward()
        sgd.step()
    with torch.no_grad():
        found = made.eval().predict(images(batch, 32, set_offset() + 77))
    logits = GOLDEN[f"{case}/eval/logits"]
    for head, ours in enumerate(HEADS.values()):
        assert relative(found[ours], logits[head]) < 1e-7, ours

"""Networks of libraries that run their stages one after another are chains of stages; others stay as they are."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from raykd import UserError
from raykd.methods.okddip import OKDDip
from raykd.methods.simkd import SimKD
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.frozen.renormalize import renormalize
from raykd.models.staged import Staged, find_chain
from raykd.models.staged.parts import Parts
from raykd.models.staged.reader import Reader, module_outputs

SWIN = {"depths": (1, 1, 2, 1), "embed_dim": 8, "num_heads": (1, 1, 2, 2), "window_size": 2}
NETWORKS = {
    "timm:swin_tiny_patch4_window7_224": SWIN,
    "timm:poolformerv2_s12": {},
    "timm:pvt_v2_b0": {"drop_path_rate": 0.3, "depths": (1, 1, 1, 1)},
    "timm:tiny_vit_5m_224": {},
    "timm:dla46x_c": {},
    "timm:test_nfnet": {},
    "torchvision:mnasnet0_5": {},
}


def network(name: str, **more) -> Staged:
    torch.manual_seed(0)
    return create(name, 7, 64, options=NETWORKS.get(name, {}) | more)


def randomised(made: Staged) -> Staged:
    """The network with arbitrary scales and biases, as after training: layer scales begin at 0 or 1e-6."""
    for values in (*made.parameters(), *made.buffers()):
        if values.is_floating_point() and values.ndim <= 1:
            values.data = 0.5 + torch.rand_like(values)
    return made


# By hand, from the source code of timm.
def swin(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    maps, x = {}, model.patch_embed(x)
    for i, layer in enumerate(model.layers):
        x = layer(x)
        maps[f"stage{i + 1}"] = x.permute(0, 3, 1, 2)
    return maps | {"pooled": model.norm(x).mean((1, 2)), "logits": model.head.fc(model.norm(x).mean((1, 2)))}


def nfnet(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    maps, x = {}, model.stem(x)
    for i, stage in enumerate(model.stages):
        x = stage(x)
        maps[f"stage{i + 1}"] = x
    x = model.final_act(model.final_conv(x)).mean((2, 3))
    return maps | {"pooled": x, "logits": model.head.fc(x)}


@pytest.mark.parametrize(("name", "by_hand"), [("timm:swin_tiny_patch4_window7_224", swin), ("timm:test_nfnet", nfnet)])
@torch.no_grad()
def test_stages_are_the_librarys_own_modules(name, by_hand):
    made = network(name)
    find_chain(made)
    expected = by_hand(randomised(made).eval().model, x := torch.randn(3, 3, 64, 64))
    if name == "timm:test_nfnet":  # whose last map is behind the last convolution
        expected["stage4"] = made.model.final_conv(expected["stage4"])
    for before, stage in zip(made.stages, (*made.stages[1:], "pooled")):
        torch.testing.assert_close(made.trunk(x, stage), expected[before])
        output = made.run_from(stage, expected[before], ("pooled",))
        torch.testing.assert_close(output.logits, expected["logits"])
        torch.testing.assert_close(output.features["pooled"], expected["pooled"])


@pytest.mark.parametrize("name", NETWORKS)
def test_training_by_stages_is_training_the_network(name):
    """Logits, features and gradients, with dropped paths."""
    made, x = network(name), torch.randn(4, 3, 64, 64)
    assert not made.is_chain
    find_chain(made)
    assert made.is_chain
    randomised(made).train()
    features, gradients = (*made.stages, "pooled"), []
    torch.manual_seed(1)
    expected = made.output(x, features).features
    for run in (made, lambda images: made.run_from("stage2", made.trunk(images, "stage2"), ()).logits):
        made.zero_grad()
        torch.manual_seed(1)
        run(x).square().mean().backward()
        gradients.append([p.grad.clone() for p in made.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    torch.manual_seed(1)
    rest = made.run_from("stage1", made.trunk(x, "stage1"), features).features
    assert list(rest) == list(features)
    for feature in features:
        torch.testing.assert_close(rest[feature], expected[feature])
        assert rest[feature].shape[1:] == made.shapes[feature]


def test_finding_a_chain_changes_nothing_else():
    made, twin = network("timm:swin_tiny_patch4_window7_224").train(), network("timm:swin_tiny_patch4_window7_224")
    before, random = {key: x.clone() for key, x in made.state_dict().items()}, torch.get_rng_state()
    find_chain(made, twin)
    assert made.training and all(torch.equal(x, before[key]) for key, x in made.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.modules())
    assert twin.sections == made.sections and twin.tail == made.tail


class Own(nn.Module):
    """Two stages and a classifier, with a disturbance between them."""

    def __init__(self, disturb=None):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)
        self.norm, self.fc = nn.BatchNorm2d(4), nn.Linear(4, 7)
        self.scale = nn.Parameter(torch.full((1, 4, 1, 1), 1e-6)) if disturb == "a scaled detour" else None
        self.gain = nn.Parameter(torch.ones(())) if disturb == "a gain of its own" else None
        self.disturb = disturb

    def forward(self, images):
        first = self.one(images)
        x = F.dropout(first, 0.5, self.training) if self.disturb == "dropout" else first
        x = x * self.gain if self.gain is not None else x
        x = self.norm(self.two(x).relu() if self.disturb == "an activation" else self.two(x))
        if self.disturb == "a detour":
            x = x + F.avg_pool2d(first, 2)
        if self.scale is not None:
            x = x + self.scale * F.avg_pool2d(first, 2)
        return self.fc(x.mean((2, 3)))


def own(disturb=None) -> Staged:
    reader = Reader(("fc",), {"stage1": "one", "stage2": "norm"}, module_outputs)
    return Staged(Parts(Own(disturb), reader=reader), name="own", num_classes=7, image_size=16)


@pytest.mark.parametrize("disturb", ["dropout", "an activation", "a detour", "a scaled detour", "a gain of its own"])
def test_what_a_chain_would_omit_is_noticed(disturb):
    """A functional dropout, an activation, a connection around a stage, however weak, and parameters of no part."""
    whole, broken = own(), own(disturb)
    find_chain(whole)
    find_chain(broken)
    assert whole.is_chain and not broken.is_chain


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:levit_128s", "timm:ghostnet_050", "torchvision:squeezenet1_1"])
def test_others_stay_as_they_are(name):
    """A class token, two heads, dropout as a function, a classifier that convolves the map."""
    made = network(name)
    find_chain(made)
    assert not made.is_chain and not made.tail


def test_branches_share_the_trunk_of_a_swin_transformer():
    build = partial(network, "timm:swin_tiny_patch4_window7_224")
    distiller = OKDDip.Config(branches=3, branch_from="stage3").build(build, [])
    leader, *others = (branch.model for branch in distiller.branches)
    for other in others:
        assert other.patch_embed is leader.patch_embed and other.layers[1] is leader.layers[1]
        assert other.layers[2] is not leader.layers[2] and other.head.fc is not leader.head.fc
    names = {name for name, _ in distiller.named_parameters()}
    alone = dict(build().model.named_parameters())
    shared = [name for name in alone if name.startswith(("patch_embed", "layers.0.", "layers.1."))]
    own_parts = [name for name in alone if name not in shared]
    branches = {name for name in names if name.startswith("branches.")}
    assert len(branches) == len(shared) + 3 * len(own_parts)
    x = torch.randn(2, 3, 64, 64)
    for branch, output in zip(distiller.eval().branches, distiller.outputs(x), strict=True):
        torch.testing.assert_close(branch(x), output.logits)


def test_a_stage_without_convolutions_is_no_block_to_share():
    build = partial(network, "timm:swin_tiny_patch4_window7_224")
    with pytest.raises(UserError, match="`method.share_block` of okddip: stage4 of timm:swin_.* has no convolutions"):
        OKDDip.Config(branches=2, share_block=True).build(build, [])


def test_a_head_is_reused_between_networks_that_are_no_chains_by_themselves():
    """By a frozen teacher for other images; the result is built again from its name."""
    student, teacher = "timm:poolformerv2_s12", "timm:swin_tiny_patch4_window7_224"
    frozen = freeze(renormalize(network(teacher), (0.5,) * 3, (0.5,) * 3, (0.4,) * 3, (0.3,) * 3))
    method = SimKD.Config().build(partial(network, student), [frozen]).eval()
    (whole,) = method.networks().values()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        own_map = method.student.output(images, ("stage4",)).features["stage4"]
        torch.testing.assert_close(whole(images), frozen.classify(method.projector(own_map)))
        again = create(whole.name, 7, 64, options=whole.options).eval()
        again.model.load_state_dict(whole.model.state_dict())
        torch.testing.assert_close(again(images), whole(images))

"""Networks that run as a whole classify maps of their last stage as their own forward pass does, or say why not."""

import pytest
import torch
from torch import nn

from raykd import UserError
from raykd.models import create
from raykd.models.frozen.freeze import freeze
from raykd.models.frozen.renormalize import renormalize
from raykd.models.heads import select_classes
from raykd.models.staged import find_tail


def network(name, classes=7, size=64, **options):
    """A network whose norms have arbitrary weights and statistics."""
    torch.manual_seed(0)
    made = create(name, classes, size, options=options).eval()
    for module in made.modules():
        for own in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if own.ndim == 1 and own.is_floating_point():
                own.data = 0.5 + torch.rand_like(own)
    return made


def tokens(x):
    return x.flatten(2).transpose(1, 2)


# By hand, from the source code of the libraries.
HEADS = {
    "timm:gmlp_ti16_224": lambda m, x: m.head(m.norm(tokens(x)).mean(1)),
    "timm:test_coatnet": lambda m, x: m.head.fc(m.norm(x).mean((2, 3))),
    "timm:nest_tiny": lambda m, x: m.head(m.norm(x.permute(0, 2, 3, 1)).mean((1, 2))),
    "timm:levit_128s": lambda m, x: (m.head(x.mean((2, 3))) + m.head_dist(x.mean((2, 3)))) / 2,
    "timm:repghostnet_050": lambda m, x: m.classifier(
        m.conv_head(m.blocks[9](m.blocks[8](x)).mean((2, 3), keepdim=True)).relu().flatten(1)
    ),
    "torchvision:squeezenet1_1": lambda m, x: m.classifier(x.relu()).flatten(1),
    "torchvision:swin_t": lambda m, x: m.head(m.norm(x.permute(0, 2, 3, 1)).mean((1, 2))),
}


@pytest.mark.parametrize("name", HEADS)
@torch.no_grad()
def test_a_map_is_classified_by_the_librarys_own_modules(name):
    made = network(name)
    find_tail(made)
    feature_map = torch.rand(3, *made.shapes[made.last_stage])
    torch.testing.assert_close(made.classify(feature_map), HEADS[name](made.model, feature_map), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["timm:test_vit", "timm:test_vit_relpos", "timm:vit_tiny_patch16_dinov3_qkvb"])
@torch.no_grad()
def test_transformers_that_average_tokens_classify_maps(name):
    """The map has no class token, which does not change the mean either."""
    made = network(name, global_pool="avg")
    find_tail(made)
    x, model = torch.rand(3, *made.shapes[made.last_stage]), made.model
    logits = model.head(model.fc_norm(model.norm(tokens(x)).mean(1)))
    if name == "timm:test_vit":  # whose map is behind the norm
        logits = model.head(model.fc_norm(tokens(x).mean(1)))
    torch.testing.assert_close(made.classify(x), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("timm:test_coatnet", ((6,), (0, 2), (3,))),
        ("timm:efficientformerv2_s0", ((6,), (0,), (3,))),
        ("torchvision:mnasnet0_5", ((6,), (0, 2), (3,))),
    ],
)
def test_frozen_networks_with_selected_classes_and_other_images_classify_maps(name, classes):
    """Wherever the tail is found, the present head is used; gradients reach the map and no weights."""
    early, late = network(name), network(name)
    find_tail(early)
    images, expected = torch.randn(2, 3, 64, 64), {}
    for made in (early, late):
        select_classes(made, classes)
        statistics = ((0.5, 0.4, 0.5), (0.2, 0.2, 0.3)), ((0.4, 0.4, 0.4), (0.3, 0.2, 0.2))
        adapted = renormalize(freeze(made), *statistics[0], *statistics[1])
        find_tail(adapted)
        output = adapted.output(images, (adapted.last_stage,))
        feature_map = output.features[adapted.last_stage].clone().requires_grad_()
        logits = adapted.classify(feature_map)
        assert logits.shape == (2, 3)
        torch.testing.assert_close(logits, output.logits, rtol=1e-3, atol=1e-3)
        logits.sum().backward()
        assert feature_map.grad.abs().sum() > 0 and all(p.grad is None for p in adapted.parameters())
        expected[made is early] = logits
    torch.testing.assert_close(expected[True], expected[False])


@pytest.mark.parametrize(
    "name", ["timm:test_vit", "timm:xcit_nano_12_p8_224", "timm:efficientvim_m1", "timm:hrnet_w18_small"]
)
def test_class_tokens_and_several_maps_are_no_tail(name):
    made = network(name)
    with pytest.raises(UserError, match=rf"{name} can't classify feature maps, because its logits are not computed"):
        find_tail(made)
    with pytest.raises(UserError, match="not a chain of stages"):
        made.classify(torch.zeros(1, *made.shapes[made.last_stage]))


def test_finding_the_tail_changes_nothing_else():
    made = network("timm:test_coatnet").train()
    before = {key: x.clone() for key, x in made.state_dict().items()}
    find_tail(made)
    assert made.training and all(torch.equal(x, before[key]) for key, x in made.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.modules())
    assert set(made.tail_modules) == {"norm", "head"}


def test_the_tail_is_found_in_full_precision(monkeypatch):
    """TF32, the default on GPUs, rounds products to ten bits, which would look like another function."""
    made, seen = network("timm:test_coatnet"), []

    def note(*_):
        seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))

    made.model.register_forward_hook(note)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        find_tail(made)
        note()
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(seen[:-1]) == {("highest", False)} and seen[-1] == ("high", True)


def test_chains_have_a_tail():
    made = create("resnet8", 7, 32)
    find_tail(made)
    assert set(made.tail_modules) == {*made.modules_of("pooled"), *made.modules_of("head")}
    assert isinstance(made.tail_modules["fc"], nn.Linear)

"""timm's classifiers: `timm:NAME`. Families that are chains by their own module names; any other as timm reads it.

A stage of a chain begins where the map becomes smaller; what precedes the last four stages is the stem.
"""

from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any

import timm
from timm.layers import ClassifierHead, NormMlpClassifierHead
from timm.models.byobnet import ByobNet
from timm.models.convnext import ConvNeXt
from timm.models.densenet import DenseNet
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from timm.models.resnetv2 import ResNetV2
from timm.models.senet import SENet
from timm.models.vgg import VGG
from torch import nn

from raykd import UserError
from raykd.models.libraries.probe import Layer, stage_ends
from raykd.models.staged.layers import as_map, flatten, split, strides
from raykd.models.staged.parts import Parts
from raykd.models.staged.reader import Intermediates, ModuleOutputs

NO_OPTIONS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "features_only"}


def names() -> list[str]:
    """Every architecture of the installed timm."""
    return timm.list_models()


def build(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """A fresh network with timm's own initialisation."""
    _expect_own(options)
    return timm.create_model(name, num_classes=num_classes, **_sized(name, image_size), **options)


def pretrained(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """With timm's weights (NAME.TAG selects them), and a fresh last layer for another number of classes."""
    _expect_own(options)
    return timm.create_model(name, pretrained=True, num_classes=num_classes, **_sized(name, image_size), **options)


def _expect_own(options: Mapping[str, Any]) -> None:
    """Raise UserError for a keyword that brings weights along, or another kind of network."""
    for option in NO_OPTIONS & options.keys():
        raise UserError(f"options: {option!r} is not an option: set the network's `weights` instead")


def _sized(name: str, image_size: int) -> dict[str, int]:
    """Keywords for another image size, if the weights depend on it, as a transformer's do."""
    return {"img_size": image_size} if timm.get_pretrained_cfg(name).fixed_input_size else {}


def views(model: nn.Module, num_classes: int, image_size: int) -> Iterator[Parts]:
    """Views of a network, the most capable first; `create` skips those that contradict its forward pass."""
    if type(model) in FAMILIES and isinstance(getattr(model, "head", None), HEADS):
        yield FAMILIES[type(model)](model)
    classifiers, info = _classifiers(model, num_classes), list(getattr(model, "feature_info", ()))
    stages = {f"stage{i + 1}": end for i, end in enumerate(stage_ends([each["reduction"] for each in info]))}
    if hasattr(model, "forward_intermediates"):
        yield Parts(model, reader=Intermediates(stages, classifiers))
    modules = {stage: info[end]["module"] for stage, end in stages.items()}
    yield Parts(model, reader=ModuleOutputs(modules, classifiers))
    yield Parts(model, reader=ModuleOutputs({}, classifiers))


def _classifiers(model: Any, num_classes: int) -> tuple[str, ...]:
    """Dotted names of the layers that compute the logits: distilled networks and those with branches have two."""
    heads = model.get_classifier() if hasattr(model, "get_classifier") else ()
    inside = {id(layer) for head in (heads if isinstance(heads, tuple) else (heads,)) for layer in head.modules()}
    layers = [(name, layer) for name, layer in model.named_modules() if id(layer) in inside]
    return tuple(name for name, layer in layers if isinstance(layer, Layer) and len(layer.weight) == num_classes)


def layers(model: nn.Module) -> tuple[tuple[str, ...], ...]:
    return tuple((f"layer{i}",) for i in range(1, 5))


def resnet(model: nn.Module) -> Parts:
    """ResNet, ResNeXt, Wide-ResNet, SE-ResNet, SENet-154, ResNeSt, Res2Net …"""
    stages = tuple(activation_apart(model, f"layer{i}") for i in range(1, 5))
    return Parts(model, ("conv1", "bn1", "act1", "maxpool"), stages, ("global_pool",), ("fc",))


def activation_apart(model: nn.Module, name: str) -> tuple[str, ...]:
    """The parts of a stage of residual blocks, with the last block's activation moved behind it: the same network."""
    stage = model.get_submodule(name)
    assert isinstance(stage, nn.Sequential)
    last = next((act for act in ("act3", "act2", "relu") if hasattr(stage[-1], act)), None)
    if last is None:  # a block of another kind, whose activation has another name
        return (name,)
    activation = getattr(stage[-1], last)
    setattr(stage[-1], last, nn.Identity())
    stage.append(activation)
    return tuple(f"{name}.{child}" for child, _ in stage.named_children())


def senet(model: nn.Module) -> Parts:
    return Parts(model, ("layer0", "pool0"), layers(model), ("global_pool",), ("last_linear",))


def vgg(model: nn.Module) -> Parts:
    """The two wide layers before the logits, convolutions in timm, count as pooling."""
    first, *stages, last = split(model, "features")
    return Parts(model, first, tuple(stages), (*last, "pre_logits", "head.global_pool"), ("head.drop", "head.fc"))


def densenet(model: nn.Module) -> Parts:
    children = [f"features.{child}" for child, _ in model.get_submodule("features").named_children()]
    starts = [i for i, name in enumerate(children) if "transition" in name]
    first = children.index("features.denseblock1")
    bounds = zip((first, *starts), (*starts, len(children)), strict=True)
    stages = tuple(tuple(children[start:end]) for start, end in bounds)
    return Parts(model, tuple(children[:first]), stages, ("global_pool",), ("head_drop", "classifier"))


def blocks(model: nn.Module) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Stem and stages of the inverted-residual families; blocks before the first stride belong to the stem."""
    groups = split(model, "blocks")
    stem: tuple[str, ...] = ("conv_stem", "bn1")
    if not strides(model.get_submodule(groups[0][0])):
        stem += groups.pop(0)
    return stem, groups


def efficientnet(model: nn.Module) -> Parts:
    """EfficientNet, MobileNetV2, MnasNet: the last 1×1 convolution belongs to the last stage."""
    stem, stages = blocks(model)
    stages[-1] += ("conv_head", "bn2")
    return Parts(model, stem, tuple(stages), ("global_pool",), ("classifier",))


def mobilenetv3(model: nn.Module) -> Parts:
    """The last 1×1 convolution comes behind the pooling and counts as it."""
    stem, stages = blocks(model)
    pool = ("global_pool", "conv_head", "norm_head", "act2", "flatten")
    return Parts(model, stem, tuple(stages), pool, ("classifier",))


def head(model: nn.Module) -> tuple[tuple, tuple]:
    """Pooling and head of timm's two kinds of classifier heads; a head that is a 1×1 convolution gets its map back."""
    if isinstance(model.head, NormMlpClassifierHead):
        return ("head.global_pool", "head.norm", "head.flatten", "head.pre_logits"), ("head.drop", "head.fc")
    if isinstance(model.get_submodule("head.fc"), nn.Conv2d):
        return ("head.global_pool", flatten), (as_map, "head.drop", "head.fc", "head.flatten")
    return ("head.global_pool",), ("head.drop", "head.fc", "head.flatten")


def numbered(model: nn.Module, last: str) -> Parts:
    """A stem, numbered stages, one module behind them, a head."""
    *stages, final = [(f"stages.{child}",) for child, _ in model.get_submodule("stages").named_children()]
    return Parts(model, ("stem",), (*stages, (*final, last)), *head(model))


def convnext(model: nn.Module) -> Parts:
    return numbered(model, "norm_pre")


def resnetv2(model: nn.Module) -> Parts:
    """Pre-activation ResNets, BiT among them."""
    return numbered(model, "norm")


def byobnet(model: nn.Module) -> Parts:
    """GENet, RepVGG, ResNet variants of timm's build-your-own-blocks; ByobNet."""
    return numbered(model, "final_conv")


def regnet(model: nn.Module) -> Parts:
    stages = (("s1",), ("s2",), ("s3",), ("s4", "final_conv"))
    return Parts(model, ("stem",), stages, *head(model))


HEADS = (ClassifierHead, NormMlpClassifierHead, NoneType)  # an attention pool (CLIP's, for example) is no chain

FAMILIES = {
    ResNet: resnet,
    SENet: senet,
    VGG: vgg,
    EfficientNet: efficientnet,
    MobileNetV3: mobilenetv3,
    DenseNet: densenet,
    ConvNeXt: convnext,
    ResNetV2: resnetv2,
    RegNet: regnet,
    ByobNet: byobnet,
}

"""timm's classifiers: `timm:NAME`. Chains are split at timm's `feature_info`; others are read by timm's own functions.

A stage of a chain begins where the map becomes smaller; what precedes the last four stages is the stem.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any

import timm
import torch.nn.functional as F
from huggingface_hub import try_to_load_from_cache
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
from torch import Tensor, nn
from torch.hub import get_dir

from raykd import UserError
from raykd.models.libraries.probe import Layer, stage_ends
from raykd.models.staged.layers import flatten, one_pixel, split
from raykd.models.staged.parts import ModuleCall, Part, Parts
from raykd.models.staged.reader import Maps, Reader

NO_OPTIONS = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "features_only"}

HUB_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def names() -> list[str]:
    """Every architecture of the installed timm."""
    return timm.list_models()


def build(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """A fresh network with timm's own initialisation."""
    return _create(name, num_classes, image_size, options, pretrained=False)


def pretrained(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """With timm's weights (NAME.TAG selects them), and a fresh last layer for another number of classes."""
    return _create(name, num_classes, image_size, options, pretrained=True)


def _create(name: str, num_classes: int, image_size: int, options: Mapping[str, Any], pretrained: bool) -> nn.Module:
    for option in NO_OPTIONS & options.keys():  # keywords that bring weights along, or another kind of network
        raise UserError(f"options: {option!r} is not an option: set the network's `weights` instead")
    # Some weights depend on the images' size, as a transformer's do.
    size = {"img_size": image_size} if timm.get_pretrained_cfg(name).fixed_input_size else {}
    return timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **size, **options)


def converted(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under timm's keys and for the network's image size, by the converter of its family, if timm has one.

    Converters know their authors' checkpoints alone: they may raise any error at others.
    """
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return dict(state) if convert is None else convert(dict(state), model)


def is_cached(name: str) -> bool:
    """Whether the weights are in the caches of this machine, those of Hugging Face's hub and of torch.

    Raises LookupError or RuntimeError if timm has no such weights.
    """
    config = timm.get_pretrained_cfg(name)
    if config is None:
        raise LookupError("timm has none of this name")
    hub, _, revision = (config.hf_hub_id or "").partition("@")
    files = (config.hf_hub_filename, *HUB_FILES) if hub else ()
    if any(isinstance(try_to_load_from_cache(hub, file, revision=revision or None), str) for file in files if file):
        return True
    return bool(config.file) or bool(config.url) and (Path(get_dir()) / "checkpoints" / Path(config.url).name).is_file()


def views(model: nn.Module, num_classes: int, image_size: int) -> Iterator[Parts]:
    """Views of a network, the most capable first; `create` skips those that contradict its forward pass."""
    if type(model) in FAMILIES and isinstance(getattr(model, "head", None), HEADS):
        yield FAMILIES[type(model)](model)
    classifiers, info = _classifiers(model, num_classes), list(getattr(model, "feature_info", ()))
    stages = {f"stage{i + 1}": end for i, end in enumerate(stage_ends([each["reduction"] for each in info]))}
    if hasattr(model, "forward_intermediates"):
        yield Parts(model, reader=Reader(classifiers, stages, intermediates))
    modules = {stage: info[end]["module"] for stage, end in stages.items()}
    yield Parts(model, reader=Reader(classifiers, modules))
    yield Parts(model, reader=Reader(classifiers))


def intermediates(model: Any, images: Tensor, stages: Mapping[str, int]) -> tuple[Tensor, Maps]:
    """Logits, and the maps of timm's `forward_intermediates` at the stages' positions."""
    positions = list(stages.values())
    # Some networks would by default end with the last map that is wanted, and give it as what enters the head.
    last, maps = model.forward_intermediates(images, indices=positions, stop_early=False, output_fmt="NCHW")
    return model.forward_head(last), dict(zip(stages, maps, strict=True))


def _classifiers(model: Any, num_classes: int) -> tuple[str, ...]:
    """Dotted names of the layers that compute the logits: distilled networks and those with branches have two."""
    heads = model.get_classifier() if hasattr(model, "get_classifier") else ()
    inside = {id(layer) for head in (heads if isinstance(heads, tuple) else (heads,)) for layer in head.modules()}
    layers = [(name, layer) for name, layer in model.named_modules() if id(layer) in inside]
    return tuple(name for name, layer in layers if isinstance(layer, Layer) and len(layer.weight) == num_classes)


def dropped(model: Any, name: str) -> str | ModuleCall:
    """The last layer, preceded by the dropout that some families call as a function before it."""
    return ModuleCall(name, partial(after_dropout, rate=model.drop_rate)) if model.drop_rate else name


def after_dropout(layer: nn.Module, x: Tensor, rate: float) -> Tensor:
    return layer(F.dropout(x, rate, layer.training))


def chain(model: Any) -> Parts:
    """Children in order, cut at the ends of the last four stages by timm's `feature_info`.

    The pooling behind the stem belongs to the stem; all that precedes the global pooling belongs to the last stage.
    """
    children = [path for name, child in model.named_children() for path in _paths(name, child)]
    pooling = next(i for i, path in enumerate(children) if path in ("global_pool", "head"))
    ends = [_position(children, each["module"]) for each in model.feature_info][-5:]
    start = ends[-5] + 1 if len(ends) == 5 else 1
    while children[start].rpartition(".")[2] in STEM_POOLS:
        start += 1
    bounds = (start, *(end + 1 for end in ends[-4:-1]), pooling)
    stages = tuple(tuple(children[begin:end]) for begin, end in pairwise(bounds))
    if type(model) is ResNet:
        stages = tuple(activation_apart(model, layer) for (layer,) in stages)
    return Parts(model, tuple(children[:start]), stages, *pool_and_head(model, children[pooling:]))


def _paths(name: str, child: nn.Module) -> list[str]:
    return [f"{name}.{inner}" for inner, _ in child.named_children()] if name in SEQUENCES else [name]


def _position(children: Sequence[str], module: str) -> int:
    """Position of the child that is the module or has it inside."""
    return next(i for i, path in enumerate(children) if f"{module}.".startswith(f"{path}."))


def pool_and_head(model: Any, children: Sequence[str]) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Pooling and head from the children behind the stages; a head that is a 1×1 convolution gets its map back."""
    if "head" not in children:
        first = next(i for i, name in enumerate(children) if name in HEAD_STARTS)
        last = children[-1] if "head_drop" in children else dropped(model, children[-1])
        return tuple(children[:first]), (*children[first:-1], last)
    if isinstance(model.head, NormMlpClassifierHead):
        return ("head.global_pool", "head.norm", "head.flatten", "head.pre_logits"), ("head.drop", "head.fc")
    if isinstance(model.get_submodule("head.fc"), nn.Conv2d):
        return ("head.global_pool", flatten), (one_pixel, "head.drop", "head.fc", "head.flatten")
    return ("head.global_pool",), ("head.drop", "head.fc", "head.flatten")


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


def vgg(model: nn.Module) -> Parts:
    """Not by feature_info, whose last stage is but the last pooling: it belongs to the global one here.

    The two wide layers before the logits, convolutions in timm, do too.
    """
    first, *stages, last = split(model, "features")
    return Parts(model, first, tuple(stages), (*last, "pre_logits", "head.global_pool"), ("head.drop", "head.fc"))


HEADS = (ClassifierHead, NormMlpClassifierHead, NoneType)  # an attention pool (CLIP's, for example) is no chain

# Networks that run their children in order, which nothing in timm tells of a network.
CHAINS = (ResNet, SENet, EfficientNet, MobileNetV3, DenseNet, ConvNeXt, ResNetV2, RegNet, ByobNet)
FAMILIES: dict[type, Callable[[Any], Parts]] = dict.fromkeys(CHAINS, chain) | {VGG: vgg}
SEQUENCES = ("stages", "blocks", "features")  # children that are sequences of stages or blocks
STEM_POOLS = ("maxpool", "pool0")
HEAD_STARTS = ("head_drop", "fc", "classifier", "last_linear")

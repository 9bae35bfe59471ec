"""torchvision's classifiers: `torchvision:NAME`. Most are chains by their own module names; others run as a whole.

A stage of a chain begins where the map becomes smaller; what precedes the last four stages is the stem.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch.nn.functional as F
import torchvision.models as library
from torch import Tensor, nn
from torch.hub import get_dir
from torchvision.models.resnet import BasicBlock, Bottleneck

from raykd.models.libraries.probe import last_layer_run, stage_modules
from raykd.models.staged.layers import blocks_before_activation, flatten, mean_pool, split
from raykd.models.staged.parts import Parts
from raykd.models.staged.reader import Reader, module_outputs


def names() -> list[str]:
    """Every classifier that the installed torchvision can build."""
    return library.list_models(module=library)


def build(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """A fresh network with torchvision's own initialisation, without heads that only its own training reads."""
    return library.get_model(name, weights=None, num_classes=num_classes, **_fixed(name, image_size) | dict(options))


def pretrained(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """With torchvision's default weights, and a fresh last layer for another number of classes."""
    weights = library.get_model_weights(name).DEFAULT
    published = weights.get_state_dict(progress=False, check_hash=True)
    own_input = {"transform_input": True} if name in AUXILIARY else {}
    model = build(name, num_classes, image_size, own_input | dict(options))
    own, same = model.state_dict(), len(weights.meta["categories"]) == num_classes
    fitting = {key: x for key, x in published.items() if key in own and (same or x.shape == own[key].shape)}
    model.load_state_dict(own | fitting)
    return model


def is_cached(name: str) -> bool:
    """Whether the default weights are in torch's cache on this machine."""
    return (Path(get_dir()) / "checkpoints" / Path(library.get_model_weights(name).DEFAULT.url).name).is_file()


AUXILIARY = ("googlenet", "inception_v3")


def _fixed(name: str, image_size: int) -> dict[str, Any]:
    """Keywords of a network's builder, by its name, besides the number of classes."""
    if name in AUXILIARY:
        return {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        return {"image_size": image_size}
    return {"input_size": (image_size, image_size)} if name == "maxvit_t" else {}


def views(model: nn.Module, num_classes: int, image_size: int) -> Iterator[Parts]:
    """Views of a network, the most capable first; `create` skips those that contradict its forward pass."""
    kind = type(model)
    if kind in FAMILIES:
        yield FAMILIES[kind](model)
    classifiers = last_layer_run(model, num_classes, image_size)
    modules = {f"stage{i + 1}": path for i, path in enumerate(stage_modules(model, image_size))}
    run = partial(module_outputs, channels_last=kind is library.SwinTransformer)
    yield Parts(model, reader=Reader(classifiers, modules, run))
    yield Parts(model, reader=Reader(classifiers))


def resnet(model: nn.Module) -> Parts:
    stages = tuple(
        blocks_before_activation(f"layer{i}", len(list(model.get_submodule(f"layer{i}").children())), before_activation)
        for i in range(1, 5)
    )
    return Parts(model, ("conv1", "bn1", "relu", "maxpool"), stages, ("avgpool", flatten), ("fc",))


def before_activation(block: BasicBlock | Bottleneck, x: Tensor) -> Tensor:
    """A residual block without its last ReLU, which is the same module as the others in torchvision's blocks."""
    shortcut = x if block.downsample is None else block.downsample(x)
    y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    if isinstance(block, Bottleneck):
        y = block.bn3(block.conv3(block.relu(y)))
    return y + shortcut


def vgg(model: nn.Module) -> Parts:
    first, *stages, last = split(model, "features")
    return Parts(model, first, tuple(stages), (*last, "avgpool", flatten), ("classifier",))


def striding(model: nn.Module) -> Parts:
    """MobileNets, EfficientNet; MobileNetV2 pools by a function."""
    first, *stages = split(model, "features")
    pool = ("avgpool", flatten) if hasattr(model, "avgpool") else (mean_pool,)
    return Parts(model, first, tuple(stages), pool, ("classifier",))


def shufflenetv2(model: nn.Module) -> Parts:
    stages = (("stage2",), ("stage3",), ("stage4", "conv5"))
    return Parts(model, ("conv1", "maxpool"), stages, (mean_pool,), ("fc",))


def densenet(model: nn.Module) -> Parts:
    stem = tuple(f"features.{part}" for part in ("conv0", "norm0", "relu0", "pool0"))
    middle = ((f"features.transition{i - 1}", f"features.denseblock{i}") for i in (2, 3))
    last = ("features.transition3", "features.denseblock4", "features.norm5", F.relu)
    stages = (("features.denseblock1",), *middle, last)
    return Parts(model, stem, stages, (mean_pool,), ("classifier",))


def convnext(model: nn.Module) -> Parts:
    """A stage begins with its downsampling; the norm behind the pooling counts as pooling."""
    first = ("features.1",)
    stages = (first, *((f"features.{i}", f"features.{i + 1}") for i in (2, 4, 6)))
    return Parts(model, ("features.0",), stages, ("avgpool", "classifier.0", "classifier.1"), ("classifier.2",))


def regnet(model: nn.Module) -> Parts:
    stages = tuple((f"trunk_output.block{i}",) for i in range(1, 5))
    return Parts(model, ("stem",), stages, ("avgpool", flatten), ("fc",))


# Chains, by hand: torchvision has no metadata of its networks, and their forward passes call functions between modules.
FAMILIES = {
    library.ResNet: resnet,
    library.VGG: vgg,
    library.MobileNetV2: striding,
    library.MobileNetV3: striding,
    library.EfficientNet: striding,
    library.ShuffleNetV2: shufflenetv2,
    library.DenseNet: densenet,
    library.ConvNeXt: convnext,
    library.RegNet: regnet,
}

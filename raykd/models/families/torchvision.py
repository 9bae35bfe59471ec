"""torchvision's classifiers as stem, stages, pooling, head: `torchvision:NAME`.

A stage begins where the map becomes smaller; what comes before the last four such places is the stem.
"""

import torch.nn.functional as F
import torchvision.models as library
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from raykd import UserError
from raykd.models.parts import Parts, blocks_before_activation, flatten, mean_pool, split


def names() -> list[str]:
    """Every classifier that the installed torchvision can build, staged or not."""
    return library.list_models(module=library)


def build(name: str, num_classes: int) -> Parts:
    """A fresh network with torchvision's own initialisation; raises UserError where its family can't be staged."""
    return stage(library.get_model(name, weights=None, num_classes=num_classes), name)


def pretrained(name: str, num_classes: int) -> Parts:
    """With torchvision's default weights; for other than their number of classes, with a fresh last layer.

    Raises UserError where they can't be downloaded.
    """
    weights = library.get_model_weights(name).DEFAULT
    parts = build(name, num_classes)
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"the weights of torchvision:{name} could not be downloaded ({error}); give a file") from error
    own = parts.model.state_dict()
    same = len(weights.meta["categories"]) == num_classes
    fitting = {key: tensor for key, tensor in state.items() if same or tensor.shape == own[key].shape}
    parts.model.load_state_dict(own | fitting)
    return parts


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels that the default weights expect."""
    transforms = library.get_model_weights(name).DEFAULT.transforms()
    return tuple(transforms.mean), tuple(transforms.std)


def stage(model: nn.Module, name: str) -> Parts:
    for family, sections in FAMILIES.items():
        if isinstance(model, family):
            return sections(model)
    known = ", ".join(family.__name__ for family in FAMILIES)
    raise UserError(f"torchvision:{name} has no stages that raykd knows; its families with stages are {known}")


def resnet(model: nn.Module) -> Parts:
    stages = tuple(
        blocks_before_activation(f"layer{i}", len(model.get_submodule(f"layer{i}")), before_activation)
        for i in range(1, 5)
    )
    return Parts(model, ("conv1", "bn1", "relu", "maxpool"), stages, ("avgpool", flatten), ("fc",))


def before_activation(block: BasicBlock | Bottleneck, x: Tensor) -> Tensor:
    """All of a residual block but its last ReLU, which torchvision's blocks call by the same module as the others."""
    shortcut = x if block.downsample is None else block.downsample(x)
    y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    if isinstance(block, Bottleneck):
        y = block.bn3(block.conv3(block.relu(y)))
    return y + shortcut


def vgg(model: nn.Module) -> Parts:
    first, *stages, last = split(model, "features")
    return Parts(model, first, tuple(stages), (*last, "avgpool", flatten), ("classifier",))


def mobilenetv2(model: nn.Module) -> Parts:
    first, *stages = split(model, "features")
    return Parts(model, first, tuple(stages), (mean_pool,), ("classifier",))


def striding(model: nn.Module) -> Parts:
    """MobileNetV3, EfficientNet."""
    first, *stages = split(model, "features")
    return Parts(model, first, tuple(stages), ("avgpool", flatten), ("classifier",))


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


FAMILIES = {
    library.ResNet: resnet,
    library.VGG: vgg,
    library.MobileNetV2: mobilenetv2,
    library.MobileNetV3: striding,
    library.EfficientNet: striding,
    library.ShuffleNetV2: shufflenetv2,
    library.DenseNet: densenet,
    library.ConvNeXt: convnext,
    library.RegNet: regnet,
}

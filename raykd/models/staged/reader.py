"""Features of networks that run as a whole, captured during the library's own forward pass.

Such a network has logits, maps of its stages, if any, and "pooled"; it can't be entered at a stage.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from raykd.contract import Output

Maps = dict[str, Tensor]


def module_outputs(
    model: nn.Module, images: Tensor, modules: Mapping[str, str], channels_last: bool = False
) -> tuple[Tensor, Maps]:
    """Logits [B, C], and the outputs of the named modules as maps [B, D, h, w], of images [B, 3, H, W].

    modules: dotted names by stage. channels_last: 4-dimensional outputs are [B, h, w, D].
    """
    outputs: Maps = {}

    def catch(stage: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, inputs, output: outputs.__setitem__(stage, output)

    with ExitStack() as hooks:
        for stage, path in modules.items():
            hooks.enter_context(model.get_submodule(path).register_forward_hook(catch(stage)))
        logits = model(images)
    return logits, {stage: as_map(x, channels_last) for stage, x in outputs.items()}


class Reader:
    """Reads a network's logits, the maps of its stages, and "pooled", the input of its classifier.

    classifiers: dotted names of the layers that compute the logits; the first one's input is "pooled". Empty if the
    network has none: its output is then the pooled feature. stages: by its name, how `run` finds a stage's map.
    run: a function of the network, images [B, 3, H, W] and some of the stages; returns logits and these stages' maps.
    """

    def __init__(
        self,
        classifiers: Sequence[str],
        stages: Mapping[str, Any] = {},  # noqa: B006  never changed
        run: Callable[[Any, Tensor, Mapping[str, Any]], tuple[Tensor, Maps]] = module_outputs,
    ):
        self.classifiers, self.stages, self.run = tuple(classifiers), dict(stages), run
        self.features = (*self.stages, "pooled")

    def __call__(self, model: nn.Module, images: Tensor, features: Collection[str]) -> Output:
        """Logits and the named features of images [B, 3, H, W]."""
        stages = {name: key for name, key in self.stages.items() if name in features}
        pooled: list[Tensor] = []
        with ExitStack() as hooks:
            if "pooled" in features and self.classifiers:
                layer = model.get_submodule(self.classifiers[0])
                hooks.enter_context(layer.register_forward_pre_hook(lambda module, inputs: pooled.append(inputs[0])))
            logits, maps = self.run(model, images, stages) if stages else (model(images), {})
        if "pooled" in features:
            maps["pooled"] = as_vector(pooled[-1] if self.classifiers else logits)
        return Output(logits, maps)


def as_map(x: Tensor, channels_last: bool = False) -> Tensor:
    """[B, D, h, w], from [B, h, w, D] where channels are last, or from tokens [B, N, D] of a square grid.

    Tokens before the grid's, such as the class token, are left out.
    """
    if x.ndim == 4:
        return x.permute(0, 3, 1, 2) if channels_last else x
    side = math.isqrt(x.shape[1])
    return x[:, -(side * side) :].transpose(1, 2).unflatten(2, (side, side))


def as_vector(x: Tensor) -> Tensor:
    """[B, D]: x itself, or the mean over the positions of a map [B, D, h, w] or over tokens [B, N, D]."""
    if x.ndim == 3:
        return x.mean(1)
    return x.flatten(2).mean(2) if x.ndim == 4 else x

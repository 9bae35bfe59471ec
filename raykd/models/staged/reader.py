"""Features of networks that run as a whole, captured during the library's own forward pass.

Such a network has logits, maps of its stages, if any, and "pooled"; it can't be entered at a stage.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from raykd.contract import Output


class ModuleOutputs:
    """Maps are the outputs of named modules, "pooled" is the input of the classifier.

    classifiers: dotted names of the layers that compute the logits; the first one's input is "pooled". Empty if the
    network has none: its output is then the pooled feature. channels_last: 4-dimensional maps are [B, h, w, D].
    """

    def __init__(self, modules: Mapping[str, str], classifiers: Sequence[str], channels_last: bool = False):
        self.modules, self.classifiers, self.channels_last = dict(modules), tuple(classifiers), channels_last
        self.features = (*self.modules, "pooled")

    def __call__(self, model: nn.Module, images: Tensor, features: Collection[str]) -> Output:
        """Logits and the named features of images [B, 3, H, W]."""
        wanted = {name: module for name, module in self.modules.items() if name in features}
        with outputs_of(model, wanted) as maps, self.pooled_in(model, features) as pooled:
            logits = model(images)
        converted = {name: as_map(x, self.channels_last) for name, x in maps.items()}
        return self._output(logits, converted, pooled, features)

    @contextmanager
    def pooled_in(self, model: nn.Module, features: Collection[str]) -> Iterator[list[Tensor]]:
        """A list that receives the classifier's input, if "pooled" is among the features."""
        outputs: list[Tensor] = []
        if "pooled" not in features or not self.classifiers:
            yield outputs
            return
        layer = model.get_submodule(self.classifiers[0])
        hook = layer.register_forward_pre_hook(lambda module, inputs: outputs.append(inputs[0]))
        try:
            yield outputs
        finally:
            hook.remove()

    def _output(self, logits: Tensor, maps: dict[str, Tensor], pooled: list[Tensor], features: Collection) -> Output:
        if "pooled" in features:
            maps["pooled"] = as_vector(pooled[-1] if self.classifiers else logits)
        return Output(logits, maps)


class PositionedMaps(ModuleOutputs):
    """Maps that a library's own forward pass returns by their positions; a subclass calls it.

    positions: by the stage's name.
    """

    def __init__(self, positions: Mapping[str, int], classifiers: Collection[str]):
        super().__init__({}, tuple(classifiers))
        self.positions = dict(positions)
        self.features = (*self.positions, "pooled")

    def __call__(self, model: nn.Module, images: Tensor, features: Collection[str]) -> Output:
        wanted = {name: at for name, at in self.positions.items() if name in features}
        if not wanted:
            return super().__call__(model, images, features)
        with self.pooled_in(model, features) as pooled:
            logits, maps = self.forward_at(model, images, list(wanted.values()))
        return self._output(logits, dict(zip(wanted, maps, strict=True)), pooled, features)

    def forward_at(self, model: Any, images: Tensor, positions: list[int]) -> tuple[Tensor, list[Tensor]]:
        """Logits [B, C] and the maps [B, D, h, w] at the positions, of images [B, 3, H, W]."""
        raise NotImplementedError


class Intermediates(PositionedMaps):
    """Maps are those of timm's `forward_intermediates`."""

    def forward_at(self, model: Any, images: Tensor, positions: list[int]) -> tuple[Tensor, list[Tensor]]:
        # Some networks would by default end with the last map that is wanted, and give it as what enters the head.
        last, maps = model.forward_intermediates(images, indices=positions, stop_early=False, output_fmt="NCHW")
        return model.forward_head(last), maps


@contextmanager
def outputs_of(model: nn.Module, modules: Mapping[str, str]) -> Iterator[dict[str, Tensor]]:
    """A dictionary that receives the named modules' outputs while the model runs."""
    outputs: dict[str, Tensor] = {}

    def catch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, inputs, output: outputs.__setitem__(name, output)

    hooks = [model.get_submodule(path).register_forward_hook(catch(name)) for name, path in modules.items()]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


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

"""The interface of all networks: logits and features by name, and, for chains of stages, access to each stage."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Output
from raykd.models.staged.modes import evaluating
from raykd.models.staged.parts import ModuleCall, Part, Parts, run_parts
from raykd.output import message_of

START = "stem"  # its input is the images
CAN_NOT_RUN = (RuntimeError, AssertionError, ValueError)  # of convolutions and attention blocks for small images
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Hardswish)


class Staged(nn.Module):
    """A classifier whose features can be read and which, if it is a chain of stages, can be run from any stage.

    Registers the plain network once, as `model`: `staged.model.state_dict()` has the network's own keys.
    A chain is given by the dotted names of its own modules: running stem, stages, pool and head in order must equal
    `model(images)`. Any other network has a `reader` instead, which runs it as a whole.
    Feature names: of chains "stem"; the stages' names ("stage1" …; in a chain the last one includes the final norm and
    activation, and in most families that have one the last 1×1 convolution), "pooled"; "stage1.pre" … is the map before
    the stage's last activation. A stage has one if its last part is an activation, or if `pre` has parts that compute
    it from the stage's map, such as the next norm of a pre-activation network.
    `width` and `shapes` are measured at image_size: shapes maps a feature's name to (D, h, w), "pooled" to (D,).
    num_classes 0: a network of features only, whose output is the pooled one.
    Raises UserError if images of that size are too small for the network.
    """

    def __init__(self, parts: Parts, *, name: str, num_classes: int, image_size: int):
        super().__init__()
        self.model, self.reader = parts.model, parts.reader
        self.native_size = image_size  # differs if images are resized for it, see `renormalize`
        self.weights_taken = ""  # the part of its weights file that was loaded, if not all of it
        # With the name, the arguments of `raykd.models.create`.
        self.options: Mapping[str, Any] = {}
        self.stage_modules: tuple[str, ...] = ()
        self.name, self.num_classes, self.image_size = name, num_classes, image_size
        stages = {f"stage{i + 1}": stage for i, stage in enumerate(parts.stages)}
        chain = {START: parts.stem} | stages | {"pooled": parts.pool, "head": parts.head}
        self.sections: dict[str, tuple[Part, ...]] = {} if parts.reader is not None else chain
        self.pre = dict(parts.pre)
        # From the last stage's map to the logits; of networks that are no chain it is set by `find_tail`.
        self.tail: tuple[Part, ...] = () if parts.reader is not None else (*parts.pool, *parts.head)
        self.shapes: dict[str, tuple[int, ...]] = self._measure()

    @property
    def is_chain(self) -> bool:
        """Whether the network is a chain of stages, that is, can be run from any of them."""
        return bool(self.sections)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages in order; empty if the network has no maps."""
        return tuple(name for name in self.shapes if name.startswith("stage") and not name.endswith(".pre"))

    @property
    def last_stage(self) -> str:
        """Name of the last stage; raises UserError if the network has no stages."""
        if not self.stages:
            raise UserError(f"{self.name} has no stages with feature maps: use another network or method")
        return self.stages[-1]

    @property
    def classifiers(self) -> tuple[str, ...]:
        """Dotted names, in `model`, of the last layer of each head; empty if it is not linear."""
        if self.reader is not None:
            return self.reader.classifiers
        layers = [
            f"{part}.{name}".strip(".")
            for part, module in self.modules_of("head").items()
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Linear | nn.Conv2d)
        ]
        return tuple(layers[-1:])

    def width(self, feature: str) -> int:
        """Number of channels of a feature; raises UserError if the network has no such feature."""
        self._expect((feature,))
        return self.shapes[feature][0]

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] → logits [B, C]."""
        return self.model(images)

    def output(self, images: Tensor, features: Collection[str]) -> Output:
        """Logits [B, C] and the named features of images [B, 3, H, W]; raises UserError for an unknown feature."""
        return self.run_from(START, images, features)

    def trunk(self, images: Tensor, before: str) -> Tensor:
        """The input of stage `before`, [B, D, h, w], for images [B, 3, H, W].

        Raises UserError unless the network is a chain of stages that has this one.
        """
        if before == START:
            return images
        self._expect_section(before)
        for name, parts in self.sections.items():
            if name == before:
                break
            images = self._run(parts, images)
        return images

    def run_from(self, start: str, x: Tensor, features: Collection[str]) -> Output:
        """Logits and the named features of the rest of the network, given the input x of section `start` (see `trunk`).

        Raises UserError if the network is not a chain of stages, or lacks the section or a feature.
        """
        self._expect(features)
        if start == START and self.reader is not None:
            return self.reader(self.model, x, features)
        self._expect_section(start)
        return self._run_sections(start, x, features)

    def _run_sections(self, start: str, x: Tensor, features: Collection[str]) -> Output:
        names = list(self.sections)
        outputs = {}
        for name in names[names.index(start) :]:
            before, x = self._run_section(name, x)
            if name in features:
                outputs[name] = x
            if f"{name}.pre" in features:
                outputs[f"{name}.pre"] = self._run(self.pre[name], x) if name in self.pre else before
        return Output(x, outputs)

    def classify(self, feature_map: Tensor) -> Tensor:
        """Logits [B, C] of a map of the last stage [B, D, h, w], by the network's own pooling and head.

        Raises UserError if the network is not a chain of stages, unless `find_tail` was called before.
        """
        if not self.tail:
            self._expect_section("pooled")
        return self._run(self.tail, feature_map)

    def modules_of(self, section: str) -> dict[str, nn.Module]:
        """A section's modules by their dotted names; empty if the network is not a chain."""
        return self._modules_of(self.sections.get(section, ()))

    @property
    def tail_modules(self) -> dict[str, nn.Module]:
        """The modules by which the network classifies maps of its last stage, by their dotted names."""
        return self._modules_of(self.tail)

    def _modules_of(self, parts: Sequence[Part]) -> dict[str, nn.Module]:
        names = [part.module if isinstance(part, ModuleCall) else part for part in parts]
        return {name: self.model.get_submodule(name) for name in names if isinstance(name, str)}

    def share_trunk(self, other: "Staged", before: str) -> None:
        """Replace the modules before stage `before` by `other`'s own; both remain whole networks.

        Raises UserError if the two are different networks.
        """
        self._expect_section(before)
        if (self.name, self.shapes) != (other.name, other.shapes):
            raise UserError(f"{self.name} can't share the trunk of another network, {other.name}")
        for section in self.sections:
            if section == before:
                return
            for part, module in other.modules_of(section).items():
                self.model.set_submodule(part, module)

    def _run(self, parts: Sequence[Part], x: Tensor) -> Tensor:
        return run_parts(self.model, parts, x)

    def _run_section(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Input and output of the section's last part."""
        before = self._run(self.sections[name][:-1], x)
        return before, self._run(self.sections[name][-1:], before)

    def _ends_in_activation(self, name: str) -> bool:
        last = self.sections[name][-1]
        if not isinstance(last, str):
            return last is F.relu
        activation = self.model.get_submodule(last)
        if isinstance(activation, ACTIVATIONS) and not isinstance(activation, nn.GELU):
            activation.inplace = False  # its input is a feature
        return isinstance(activation, ACTIVATIONS)

    def _expect_section(self, name: str) -> None:
        if not self.is_chain:
            raise UserError(
                f"{self.name} is not a chain of stages, so it can't be run from {name!r} on: use another network, or "
                "a method that does not branch it or classify its maps"
            )
        if name not in self.sections:
            raise UserError(f"{self.name} has no stage {name!r}; it has {', '.join(self.stages)}")

    def _expect(self, features: Collection[str]) -> None:
        for feature in features:
            if feature not in self.shapes:
                raise UserError(f"{self.name} has no feature {feature!r}; it has {', '.join(self.shapes)}")

    @torch.no_grad()
    def _measure(self) -> dict[str, tuple[int, ...]]:
        x = next(self.model.parameters()).new_zeros(1, 3, self.image_size, self.image_size)
        try:
            with evaluating(self.model):
                if self.reader is not None:
                    logits, features = self.reader(self.model, x, self.reader.features)
                else:
                    logits, features = self._run_sections(START, x, self._features())
        except CAN_NOT_RUN as error:
            size = f"{self.image_size}×{self.image_size}"
            raise UserError(
                f"{self.name} can't take images of {size} pixels ({message_of(error)}): change image_size"
            ) from error
        if self.num_classes and logits.shape != (1, self.num_classes):
            shape = list(logits.shape)
            raise UserError(f"{self.name} outputs {shape} for one image, not the logits [1, {self.num_classes}]")
        return {name: tuple(feature.shape[1:]) for name, feature in features.items()}

    def _features(self) -> list[str]:
        """Names of a chain's features: its sections' outputs, and of some stages the map before their activation."""
        stages = [name for name in self.sections if name.startswith("stage")]
        before = [f"{name}.pre" for name in stages if name in self.pre or self._ends_in_activation(name)]
        return [name for name in self.sections if name != "head"] + before


def parameters(network: nn.Module) -> int:
    """Number of parameters of a network; shared ones count once."""
    return sum(p.numel() for p in network.parameters())

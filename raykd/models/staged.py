"""One view on any classifier: stem, stages, pooling, head, by the dotted names of its own modules."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Output

Part = str | Callable[[Tensor], Tensor]  # a dotted module name, or a module-level function between modules


class Staged(nn.Module):
    """A classifier that can be read and entered stage by stage.

    Registers the plain network once, as `model`: `staged.model.state_dict()` has the network's own keys.
    Running stem, stages, pool and head in order must equal `model(images)`.
    Feature names: "stem", the stages' names ("stage1" …; the last one includes the final norm and activation, and in
    most families that have one the last 1×1 convolution), "pooled".
    `width` and `shapes` are measured at image_size: shapes maps a feature's name to (D, h, w), "pooled" to (D,).
    Raises UserError where images of that size are too small for the network.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        stem: Sequence[Part],
        stages: Sequence[Sequence[Part]],
        pool: Sequence[Part],
        head: Sequence[Part],
        name: str,
        num_classes: int,
        image_size: int,
    ):
        super().__init__()
        self.model = model
        self.name, self.num_classes, self.image_size = name, num_classes, image_size
        sections = {"stem": tuple(stem)} | {f"stage{i + 1}": tuple(parts) for i, parts in enumerate(stages)}
        self.sections: dict[str, tuple[Part, ...]] = sections | {"pooled": tuple(pool), "head": tuple(head)}
        self.shapes: dict[str, tuple[int, ...]] = self._measure()

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(name for name in self.sections if name.startswith("stage"))

    @property
    def last_stage(self) -> str:
        return self.stages[-1]

    @property
    def classifier(self) -> str:
        """Dotted name, in `model`, of the layer that makes the logits."""
        layers = [
            f"{part}.{name}".strip(".")
            for part, module in self.modules_of("head").items()
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Linear | nn.Conv2d)
        ]
        return layers[-1]

    def width(self, feature: str) -> int:
        """Channels of a feature; raises UserError where the network has no such feature."""
        self._expect((feature,))
        return self.shapes[feature][0]

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] → logits [B, C]."""
        return self.model(images)

    def output(self, images: Tensor, features: Collection[str]) -> Output:
        """Logits and the named features of images; raises UserError where the network has no such feature."""
        return self.run_from("stem", images, features)

    def trunk(self, images: Tensor, before: str) -> Tensor:
        """The map that enters stage `before`: [B, D, h, w]."""
        self._expect_section(before)
        for name, parts in self.sections.items():
            if name == before:
                break
            images = self._run(parts, images)
        return images

    def run_from(self, start: str, x: Tensor, features: Collection[str]) -> Output:
        """The rest of the network, from what enters section `start`: the inverse of `trunk`."""
        self._expect(features)
        self._expect_section(start)
        names = list(self.sections)
        kept = {}
        for name in names[names.index(start) :]:
            x = self._run(self.sections[name], x)
            if name in features:
                kept[name] = x
        return Output(x, kept)

    def classify(self, feature_map: Tensor) -> Tensor:
        """Logits of a last-stage map [B, D, h, w], through the network's own pooling and head."""
        return self.run_from("pooled", feature_map, ()).logits

    def modules_of(self, section: str) -> dict[str, nn.Module]:
        return {part: self.model.get_submodule(part) for part in self.sections[section] if isinstance(part, str)}

    def share_trunk(self, other: "Staged", before: str) -> None:
        """Use `other`'s very modules for everything that comes before stage `before`; both stay whole networks.

        Raises UserError where the two are not the same network.
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
        for part in parts:
            x = self.model.get_submodule(part)(x) if isinstance(part, str) else part(x)
        return x

    def _expect_section(self, name: str) -> None:
        if name not in self.sections:
            raise UserError(f"{self.name} has no stage {name!r}; it has {', '.join(self.stages)}")

    def _expect(self, features: Collection[str]) -> None:
        for feature in features:
            if feature not in self.shapes:
                raise UserError(f"{self.name} has no feature {feature!r}; it has {', '.join(self.shapes)}")

    @torch.no_grad()
    def _measure(self) -> dict[str, tuple[int, ...]]:
        training = self.model.training
        self.model.eval()
        parameter = next(self.model.parameters())
        x = parameter.new_zeros(1, 3, self.image_size, self.image_size)
        shapes = {}
        try:
            for name, parts in self.sections.items():
                x = self._run(parts, x)
                shapes[name] = tuple(x.shape[1:])
        except (RuntimeError, AssertionError) as error:  # what convolutions and attention blocks raise
            size, reason = f"{self.image_size}×{self.image_size}", " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"{self.name} can't take images of {size} pixels ({reason}): change image_size") from error
        self.model.train(training)
        return {name: shape for name, shape in shapes.items() if name != "head"}

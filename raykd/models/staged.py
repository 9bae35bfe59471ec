"""One view on any classifier: stem, stages, pooling, head, by the dotted names of its own modules."""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.contract import Output

Part = str | Callable[[Tensor], Tensor]  # a dotted module name, or a module-level function between modules


class Staged(nn.Module):
    """A classifier that can be read and entered stage by stage.

    Registers the plain network once, as `model`: `staged.model.state_dict()` has the network's own keys.
    Running stem, stages, pool and head in order must equal `model(images)`.
    Feature names: "stem", the stages' names ("stage1" …; the last one includes the final norm and activation), "pooled".
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

    def width(self, feature: str) -> int:
        """Channels of a feature; raises UserError where the network has no such feature."""
        if feature not in self.shapes:
            raise UserError(f"{self.name} has no feature {feature!r}; it has {', '.join(self.shapes)}")
        return self.shapes[feature][0]

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] → logits [B, C]."""
        return self.model(images)

    def output(self, images: Tensor, features: Collection[str]) -> Output:
        """Logits and the named features of images."""
        return self.run_from("stem", images, features)

    def trunk(self, images: Tensor, before: str) -> Tensor:
        """The map that enters stage `before`: [B, D, h, w]."""
        for name, parts in self.sections.items():
            if name == before:
                return images
            images = self._run(parts, images)
        raise UserError(f"{self.name} has no stage {before!r}; it has {', '.join(self.stages)}")

    def run_from(self, start: str, x: Tensor, features: Collection[str]) -> Output:
        """The rest of the network, from what enters section `start`."""
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
        """Use `other`'s very modules for everything that comes before stage `before`; both stay whole networks."""
        if before not in self.stages:
            raise UserError(f"{self.name} has no stage {before!r}; it has {', '.join(self.stages)}")
        for section in self.sections:
            if section == before:
                return
            for part, module in other.modules_of(section).items():
                self.model.set_submodule(part, module)

    def _run(self, parts: Sequence[Part], x: Tensor) -> Tensor:
        for part in parts:
            x = self.model.get_submodule(part)(x) if isinstance(part, str) else part(x)
        return x

    @torch.no_grad()
    def _measure(self) -> dict[str, tuple[int, ...]]:
        training = self.model.training
        self.model.eval()
        device = next(self.model.parameters())
        images = torch.zeros(1, 3, self.image_size, self.image_size, device=device.device, dtype=device.dtype)
        features: Mapping[str, Tensor] = self.output(images, set(self.sections)).features
        self.model.train(training)
        return {name: tuple(x.shape[1:]) for name, x in features.items() if name != "head"}

"""Networks of one architecture as one pass: their channels beside each other, one grouped operation where each had one.

Nothing is moved or owned: the networks' own tensors are joined at every call, so that their checkpoints, gradients,
averages and optimizers are those of ordinary networks. Whether this is faster than one network after another depends on
the machine: it saves launches of operations, and no arithmetic.
"""

import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call

from raykd import UserError
from raykd.contract import Output
from raykd.models.staged import Staged

TRIAL = 1e-8  # relative: a trial in float64 differs from running apart by rounding alone, or by far more than this


class Linears(nn.Module):
    """m linear layers beside each other, [B, m D] → [B, m D']; weight [m D', D], bias [m D'] or None."""

    def __init__(self, one: nn.Linear, count: int):
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.empty(count * one.out_features, one.in_features, device="meta"))
        self.bias = nn.Parameter(torch.empty(count * one.out_features, device="meta")) if one.bias is not None else None

    def forward(self, x: Tensor) -> Tensor:
        weights = self.weight.unflatten(0, (self.count, -1)).transpose(1, 2)
        y = torch.bmm(x.unflatten(1, (self.count, -1)).transpose(0, 1), weights).transpose(0, 1).flatten(1)
        return y if self.bias is None else y + self.bias.to(y.dtype)


def _convolutions(one: nn.Conv2d, count: int) -> nn.Conv2d:
    widths = (count * one.in_channels, count * one.out_channels)
    spread = {"stride": one.stride, "padding": one.padding, "dilation": one.dilation, "groups": count * one.groups}
    return nn.Conv2d(*widths, one.kernel_size, **spread, bias=one.bias is not None, device="meta")


def _batch_norms(one: nn.BatchNorm2d, count: int) -> nn.BatchNorm2d:
    found = nn.BatchNorm2d(count * one.num_features, one.eps, one.momentum, one.affine, device="meta")
    found.num_batches_tracked = None  # the networks' own are counted
    return found


def _group_norms(one: nn.GroupNorm, count: int) -> nn.GroupNorm:
    return nn.GroupNorm(count * one.num_groups, count * one.num_channels, one.eps, one.affine, device="meta")


# Exact types only: a subclass may compute anything.
KINDS = {nn.Conv2d: _convolutions, nn.BatchNorm2d: _batch_norms, nn.GroupNorm: _group_norms, nn.Linear: Linears}


class Rest(nn.Module):
    """A network from one of its sections on, as a module."""

    def __init__(self, staged: Staged, start: str):
        super().__init__()
        self.staged, self.start = staged, start

    def forward(self, x: Tensor, features: Collection[str]) -> Output:
        return self.staged.run_from(self.start, x, features)


class Stacked(nn.Module):
    """m networks from section `start` on, as one pass; without parameters and buffers of its own.

    Of networks that `expect_stackable` allows. frozen: they never train, and their weights are joined once, now.
    """

    def __init__(self, networks: Sequence[Staged], start: str, frozen: bool = False):
        super().__init__()
        self.count, self.frozen = len(networks), frozen
        twin, self.layers = _twin(networks, start)
        # In a tuple, so that it doesn't register. Its tensors are on no device, each call gives it the networks'.
        self.twin = (twin,)
        if frozen:
            self._fill(twin)
        self.train(not frozen)

    def train(self, mode: bool = True) -> "Stacked":
        self.twin[0].train(mode)
        return super().train(mode)

    @torch.no_grad()
    def _fill(self, twin: Rest) -> None:
        for path, tensor in (self._weights() | self._statistics()).items():
            layer, _, name = path.rpartition(".")
            buffer = name.startswith("running")
            setattr(twin.get_submodule(layer), name, tensor if buffer else nn.Parameter(tensor, False))

    def forward(self, entering: Sequence[Tensor], features: Collection[str]) -> list[Output]:
        """Each network's `run_from(start, …)` of what enters it, [B, D, h, w] each."""
        (twin,), x = self.twin, torch.cat(tuple(entering), 1)
        if self.frozen:
            return self._apart(twin(x, features))
        statistics = self._statistics()
        output = functional_call(twin, self._weights() | statistics, (x, features))
        if self.training and statistics:
            self._follow(statistics)
        return self._apart(output)

    def _apart(self, output: Output) -> list[Output]:
        parts = {name: feature.chunk(self.count, 1) for name, feature in output.features.items()}
        logits = output.logits.chunk(self.count, 1)
        return [Output(logits[i], {name: part[i] for name, part in parts.items()}) for i in range(self.count)]

    def _weights(self) -> dict[str, Tensor]:
        """The layers' parameters, each kind's beside each other; all vectors in one operation."""
        found = {f"{path}.{name}": tensors for path, name, tensors in self._of("weight", "bias")}
        vectors = {path: tensors for path, tensors in found.items() if tensors[0].ndim == 1}
        joined = {path: torch.cat(tensors) for path, tensors in found.items() if path not in vectors}
        return joined | dict(zip(vectors, _joined(vectors.values()), strict=True))

    @torch.no_grad()
    def _statistics(self) -> dict[str, Tensor]:
        """BatchNorms' running statistics, as tensors that the pass may change one by one."""
        found = {f"{path}.{name}": tensors for path, name, tensors in self._of("running_mean", "running_var")}
        # .data: with a version of its own, as autograd keeps each for the backward pass.
        return dict(zip(found, [part.data for part in _joined(found.values())], strict=True))

    @torch.no_grad()
    def _follow(self, statistics: dict[str, Tensor]) -> None:
        """Give the networks the running statistics that the pass has made."""
        own = [tensor for _, _, tensors in self._of("running_mean", "running_var") for tensor in tensors]
        torch._foreach_copy_(own, [part for joined in statistics.values() for part in joined.chunk(self.count)])
        torch._foreach_add_([tensor for _, _, tensors in self._of("num_batches_tracked") for tensor in tensors], 1)

    def _of(self, *names: str) -> Iterator[tuple[str, str, list[Tensor]]]:
        """Path of a layer, name, and the networks' own tensors, read anew: training may have moved them."""
        for path, each in self.layers.items():
            for name in names:
                if getattr(each[0], name, None) is not None:
                    yield path, name, [getattr(layer, name) for layer in each]


def _joined(groups: Collection[list[Tensor]]) -> Sequence[Tensor]:
    """Each group of vectors end to end, by one operation for all."""
    sizes = [sum(map(len, group)) for group in groups]
    return torch.cat([vector for group in groups for vector in group]).split(sizes) if sizes else ()


def _twin(networks: Sequence[Staged], start: str) -> tuple[Rest, dict[str, tuple[nn.Module, ...]]]:
    """The first network from section `start` on with one layer for all networks' own, and these by the layer's path."""
    copies: dict[int, nn.Module] = {}
    layers: dict[str, tuple[nn.Module, ...]] = {}
    for section in networks[0].sections:
        for part, module in networks[0].modules_of(section).items():
            if _before(networks[0], section, start):
                copies[id(module)] = nn.Identity()
                continue
            for name, layer in _owners(module):
                path = f"{part}.{name}".strip(".")
                copies[id(layer)] = KINDS[type(layer)](layer, len(networks))
                layers[f"staged.model.{path}"] = tuple(network.model.get_submodule(path) for network in networks)
    # deepcopy takes what it finds in its memo for the copy.
    return Rest(copy.deepcopy(networks[0], copies), start), layers


def _owners(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules that hold parameters or buffers themselves."""
    for name, inner in module.named_modules():
        if inner._parameters or inner._buffers:
            yield name, inner


def _before(network: Staged, section: str, start: str) -> bool:
    names = list(network.sections)
    return names.index(section) < names.index(start)


def architecture(network: Staged) -> tuple[str, ...]:
    """What networks that can run together have in common."""
    return repr(network.model), str(network.sections), str(network.shapes)


def expect_stackable(networks: Sequence[Staged], start: str, field: str, frozen: bool = False) -> None:
    """Raise UserError, which names `field`, where networks can't run as one pass from section `start` on.

    Where they hold layers that have no grouped form, drop out in training, or say something else together than apart:
    that is tried with the first two, on random maps.
    """
    first = networks[0]
    if len({architecture(network) for network in networks}) > 1:
        raise UserError(f"{field}: only networks of one architecture run together; turn it off")
    for section in first.sections:
        for module in () if _before(first, section, start) else first.modules_of(section).values():
            reason = next((why for inner in module.modules() if (why := _hindrance(inner, frozen))), "")
            if reason:
                raise UserError(f"{field}: networks of {first.name} can't run together, it has {reason}; turn it off")
    if not _agrees(networks[:2], start, frozen):
        raise UserError(
            f"{field}: networks of {first.name} can't run together, it mixes channels between its layers; turn it off"
        )


def _hindrance(module: nn.Module, frozen: bool) -> str:
    """What of a module keeps it from being stacked."""
    name = type(module).__name__
    if (module._parameters or module._buffers) and type(module) not in KINDS:
        return f"{name} layers"
    if type(module) is nn.Conv2d and module.padding_mode != "zeros":
        return f"convolutions with {module.padding_mode} padding"
    if type(module) is nn.BatchNorm2d and (module.running_mean is None or module.momentum is None):
        return "BatchNorm without plain running statistics"
    rate = max(getattr(module, "p", 0.0), getattr(module, "drop_prob", 0.0) or 0.0) if _drops(name) else 0.0
    return f"{name} in training" if rate and not frozen else ""


def _drops(name: str) -> bool:
    return "Drop" in name or name == "StochasticDepth"


@torch.no_grad()
def _agrees(networks: Sequence[Staged], start: str, frozen: bool) -> bool:
    """Do two of the networks, copied, in float64, say of random maps together what they say apart?"""
    with _reproducibly():
        pair = [copy.deepcopy(network).cpu().double() for network in networks]
        for parameter in (p for network in pair for p in network.parameters() if p.ndim == 1):
            parameter.add_(0.1 * torch.randn_like(parameter))  # scales that begin at 0 would hide what lies behind them
        names = list(pair[0].sections)
        shape = (3, *[pair[0].image_size] * 2) if start == names[0] else pair[0].shapes[names[names.index(start) - 1]]
        entering = [torch.randn(4, *shape, dtype=torch.float64) for _ in pair]
        for training in (False,) if frozen else (False, True):
            apart = [n.train(training).run_from(start, x, ()).logits for n, x in zip(pair, entering, strict=True)]
            try:
                stacked = Stacked(pair, start, frozen).train(training)
                together = torch.cat([output.logits for output in stacked(entering, ())], 1)
            except RuntimeError:  # shapes that don't fit
                return False
            apart = torch.cat(apart, 1)
            if together.shape != apart.shape or not (together - apart).norm() <= TRIAL * apart.norm():
                return False
    return True


@contextmanager
def _reproducibly() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", enabled=False):
        torch.manual_seed(0)
        yield

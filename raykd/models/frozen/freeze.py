"""Optimises frozen networks: BatchNorm folded into convolutions, channels last, no gradients."""

import copy
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from raykd.models.staged import Staged

STANDARDISED = ("StdConv2d", "ScaledStdConv2d")  # timm's, except those whose padding depends on the map's size


def freeze(staged: Staged) -> Staged:
    """Optimise `staged` itself for inference: the same logits and features, up to rounding, in less time.

    BatchNorm is folded into the convolution before it if nothing else reads that convolution's output; an identity
    replaces it, so that stages, features and the head keep their names and shapes. Convolutions that standardise their
    weights before every pass (BiT's, NFNet's) become plain ones. Weights are channels last.
    """
    staged.eval().requires_grad_(False)
    for name, module in list(staged.model.named_modules()):
        if type(module).__name__ in STANDARDISED:
            staged.model.set_submodule(name, _plain_convolution(module))
    for conv, norm in foldable(staged):
        _fold(conv, norm)
        for name, module in list(staged.model.named_modules(remove_duplicate=False)):
            if module is norm:
                staged.model.set_submodule(name, _replacement(norm))
    return staged.to(memory_format=torch.channels_last)


@torch.no_grad()
def _plain_convolution(standardised: Any) -> nn.Conv2d:
    """A plain convolution with the standardised weights that timm's layer computes in every pass."""
    own = standardised.weight.double()
    mean, variance = own.mean((1, 2, 3), keepdim=True), own.var((1, 2, 3), correction=0, keepdim=True)
    weight = (own - mean) / (variance + standardised.eps).sqrt()
    if hasattr(standardised, "gain"):
        weight = weight * standardised.gain.double() * standardised.scale
    conv: nn.Conv2d = copy.copy(standardised)
    conv.__class__, conv._parameters = nn.Conv2d, dict(standardised._parameters)
    conv._parameters.pop("gain", None)
    conv.weight = nn.Parameter(weight.to(standardised.weight.dtype), requires_grad=False)
    return conv


def cast_weights(staged: Staged, kind: torch.dtype) -> Staged:
    """A copy for autocast to `kind` whose convolutions and linear layers hold weights of that type already.

    Everything else, such as norms, is unchanged: autocast computes it in float32.
    """
    twin = copy.deepcopy(staged)
    for module in twin.modules():
        if type(module) in (nn.Conv2d, nn.Linear):
            module.to(kind)
    return twin


def foldable(staged: Staged) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the BatchNorms that are their only readers, found in the autograd graph of one forward pass."""
    conv_nodes: dict[nn.Conv2d, list[Any]] = defaultdict(list)
    norm_nodes: dict[nn.BatchNorm2d, list[Any]] = defaultdict(list)
    weight = next(staged.parameters())
    images = torch.zeros(1, 3, staged.image_size, staged.image_size, dtype=weight.dtype, device=weight.device)
    with torch.enable_grad(), ExitStack() as hooks:
        for conv in _plain_convolutions(staged):
            hooks.enter_context(conv.register_forward_hook(lambda conv, _, y: conv_nodes[conv].append(y.grad_fn)))
        for norm in _norms(staged):
            hooks.enter_context(norm.register_forward_pre_hook(lambda norm, x: norm_nodes[norm].append(x[0].grad_fn)))
        logits, features = staged.output(images.requires_grad_(), tuple(staged.shapes))
    readers = _readers([logits, *features.values()])
    ran_once = ((conv, nodes[0]) for conv, nodes in conv_nodes.items() if len(nodes) == 1)
    by_node = {node: conv for conv, node in ran_once if readers[node] == 1}
    return [(by_node[nodes[0]], norm) for norm, nodes in norm_nodes.items() if len(nodes) == 1 and nodes[0] in by_node]


def _readers(outputs: list[Tensor]) -> Counter[Any]:
    """How often each node of the autograd graph is read, a returned output counting as a reader."""
    readers: Counter[Any] = Counter(output.grad_fn for output in outputs)
    todo = list(readers)
    while todo:
        for node, _ in todo.pop().next_functions:
            if node is not None:
                if node not in readers:
                    todo.append(node)
                readers[node] += 1
    return readers


def _plain_convolutions(staged: Staged) -> Iterator[nn.Conv2d]:
    """Convolutions whose output is that of their own weight: no subclass, no parametrization, no hook."""
    for module in staged.modules():
        if type(module) is nn.Conv2d and not module._forward_pre_hooks and not module._forward_hooks:
            yield module


def _norms(staged: Staged) -> Iterator[nn.BatchNorm2d]:
    """BatchNorms with running statistics, including timm's, which contain an activation."""
    for module in staged.modules():
        known = type(module) is nn.BatchNorm2d or type(module).__name__ == "BatchNormAct2d"
        if known and isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            yield module


def _replacement(norm: nn.BatchNorm2d) -> nn.Module:
    return nn.Identity() if type(norm) is nn.BatchNorm2d else norm.get_submodule("act")


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """w ← w γ/σ, b ← β + (b − μ) γ/σ, computed in float64."""
    assert norm.running_mean is not None and norm.running_var is not None  # see _norms
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    gamma = norm.weight.double() if norm.affine else torch.ones_like(mean)
    beta = norm.bias.double() if norm.affine else torch.zeros_like(mean)
    scale = gamma / (variance + norm.eps).sqrt()
    bias = conv.bias.double() if conv.bias is not None else torch.zeros_like(mean)
    weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
    kind = conv.weight.dtype
    conv.weight = nn.Parameter(weight.to(kind), requires_grad=False)
    conv.bias = nn.Parameter((beta + (bias - mean) * scale).to(kind), requires_grad=False)

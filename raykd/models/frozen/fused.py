"""A frozen network as a graph in which a GPU runs convolution, bias, residual sum and ReLU as a single kernel."""

import operator
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from raykd.models.staged import Staged

RELUS = (F.relu, torch.relu)
SUMS = (operator.add, operator.iadd, torch.add)


def conv_relu(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """relu(conv(x)) of a map [B, D, h, w], in the dtype of the convolution's weight."""
    x, padding = x.to(conv.weight.dtype), padding_of(conv)
    if x.device.type == "cuda":
        return torch.cudnn_convolution_relu(x, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups)
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups).relu_()


def conv_add_relu(x: Tensor, conv: nn.Conv2d, other: Tensor) -> Tensor:
    """relu(conv(x) + other) of maps [B, D, h, w], in the dtype of the convolution's weight."""
    x, other = x.to(conv.weight.dtype), other.to(conv.weight.dtype)
    padding = padding_of(conv)
    if x.device.type == "cuda":
        return torch.cudnn_convolution_add_relu(
            x, conv.weight, other, 1.0, conv.bias, conv.stride, padding, conv.dilation, conv.groups
        )
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, padding, conv.dilation, conv.groups).add_(other).relu_()


def padding_of(conv: nn.Conv2d) -> tuple[int, ...]:
    """The padding in pixels of a convolution that `_is_convolution` accepts, so not "same"."""
    assert not isinstance(conv.padding, str)
    return conv.padding


class SelectedOutputs(nn.Module):
    """A frozen network's logits and some of its features, as a tuple."""

    def __init__(self, network: Staged, features: Sequence[str]):
        super().__init__()
        self.network, self.features = network, tuple(features)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network.output(images, self.features)
        return output.logits, *(output.features[name] for name in self.features)


class HookTracer(fx.Tracer):
    """Traces into layers with hooks, by which readers catch features: fx would call the layers without them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) and not (m._forward_hooks or m._forward_pre_hooks)


def trace_network(network: Staged, features: Sequence[str]) -> nn.Module:
    """`SelectedOutputs` as a graph without identities and dropout; torch.compile limits recompilations of each apart.

    `SelectedOutputs` itself if torch.fx can't trace the network, as its Python code depends on values.
    """
    outputs = SelectedOutputs(network, features)
    try:
        graph = fx.GraphModule(outputs, HookTracer().trace(outputs))
    except (fx.proxy.TraceError, TypeError, RuntimeError):  # the code reads a value or a length
        return outputs
    for node in list(graph.graph.nodes):
        if _is(node, graph, (), (nn.Identity, nn.Dropout)):  # identities are what folded BatchNorms leave
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def fuse(graph: nn.Module) -> nn.Module:
    """Fuse each ReLU of a traced network with the convolution before it, in place, where possible; returns it."""
    if isinstance(graph, fx.GraphModule):
        for node in list(graph.graph.nodes):
            if _is(node, graph, RELUS, (nn.ReLU,)):
                _fuse(node, graph)
        graph.graph.eliminate_dead_code()
        graph.recompile()
    return graph


def _is(node: fx.Node, graph: fx.GraphModule, functions: Sequence[object], modules: Sequence[type]) -> bool:
    """Whether a node calls one of the functions, or a module of exactly one of these types."""
    if node.op == "call_module":
        return type(graph.get_submodule(str(node.target))) in modules
    return node.op == "call_function" and node.target in functions


def _fuse(relu: fx.Node, graph: fx.GraphModule) -> None:
    """Replace a ReLU and the convolution, or the sum with one, that only the ReLU reads, by one call."""
    before = relu.args[0]
    conv, others = _convolution_before(before, graph) if isinstance(before, fx.Node) else (None, ())
    if conv is None:
        return
    assert isinstance(before, fx.Node)
    erased = [relu, before, conv]
    with graph.graph.inserting_before(relu):
        module = graph.graph.get_attr(str(conv.target))
        call = graph.graph.call_function(conv_add_relu if others else conv_relu, (conv.args[0], module, *others))
    relu.replace_all_uses_with(call)
    for node in dict.fromkeys(erased):
        graph.graph.erase_node(node)


def _convolution_before(node: fx.Node, graph: fx.GraphModule) -> tuple[fx.Node | None, tuple[fx.Node, ...]]:
    """The convolution whose result a ReLU reads, and what is added to it; None if there is none."""
    if _is_convolution(node, graph):
        return node, ()
    terms = [each for each in node.args if isinstance(each, fx.Node)]
    if _is(node, graph, SUMS, ()) and len(node.users) == 1 and len(terms) == len(node.args) == 2:
        left, right = terms
        if _is_convolution(left, graph):
            return left, (right,)
        if _is_convolution(right, graph):
            return right, (left,)
    return None, ()


def _is_convolution(node: fx.Node, graph: fx.GraphModule) -> bool:
    """Whether a node is a plain convolution whose result one other node reads."""
    if not _is(node, graph, (), (nn.Conv2d,)) or len(node.users) != 1:
        return False
    conv = graph.get_submodule(str(node.target))
    assert isinstance(conv, nn.Conv2d)
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)

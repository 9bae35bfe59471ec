"""A frozen network as one graph in which a GPU runs convolution, bias, residual sum and ReLU as a single kernel."""

import operator
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from raykd.models.staged import Staged

RELUS = (F.relu, torch.relu)
SUMS = (operator.add, operator.iadd, torch.add)


def conv_relu(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """relu(conv(x)), in the type of the convolution's weight."""
    x, where = x.to(conv.weight.dtype), (conv.stride, conv.padding, conv.dilation, conv.groups)
    if x.device.type == "cuda":
        return torch.cudnn_convolution_relu(x, conv.weight, conv.bias, *where)
    return F.conv2d(x, conv.weight, conv.bias, *where).relu_()


def conv_add_relu(x: Tensor, conv: nn.Conv2d, other: Tensor) -> Tensor:
    """relu(conv(x) + other), in the type of the convolution's weight."""
    x, other = x.to(conv.weight.dtype), other.to(conv.weight.dtype)
    where = (conv.stride, conv.padding, conv.dilation, conv.groups)
    if x.device.type == "cuda":
        return torch.cudnn_convolution_add_relu(x, conv.weight, other, 1.0, conv.bias, *where)
    return F.conv2d(x, conv.weight, conv.bias, *where).add_(other).relu_()


class Chosen(nn.Module):
    """A frozen network's logits and some of its features, as a tuple."""

    def __init__(self, network: Staged, features: Sequence[str]):
        super().__init__()
        self.network, self.features = network, tuple(features)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network.output(images, self.features)
        return output.logits, *(output.features[name] for name in self.features)


def traced(network: Staged, features: Sequence[str]) -> nn.Module:
    """`Chosen` as a graph without what does nothing in evaluation: torch.compile counts each such graph by itself.

    `Chosen` itself where the network's Python code depends on what it computes, so that torch.fx can't follow it.
    """
    chosen = Chosen(network, features)
    try:
        graph = fx.symbolic_trace(chosen)
    except (fx.proxy.TraceError, TypeError, RuntimeError):  # of a value that is asked for its number or its length
        return chosen
    for node in list(graph.graph.nodes):
        if _is(node, graph, (), (nn.Identity, nn.Dropout)):  # identities are what folded BatchNorms leave
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


def fuse(graph: nn.Module) -> nn.Module:
    """A traced network itself, with each ReLU in the kernel of the convolution before it wherever that is possible."""
    if isinstance(graph, fx.GraphModule):
        for node in list(graph.graph.nodes):
            if _is(node, graph, RELUS, (nn.ReLU,)):
                _fuse(node, graph)
        graph.graph.eliminate_dead_code()
        graph.recompile()
    return graph


def _is(node: fx.Node, graph: fx.GraphModule, functions: Sequence, modules: Sequence[type]) -> bool:
    """Whether a node calls one of the functions, or a module of just one of these types."""
    if node.op == "call_module":
        return type(graph.get_submodule(node.target)) in modules
    return node.op == "call_function" and node.target in functions


def _fuse(relu: fx.Node, graph: fx.GraphModule) -> None:
    """Replace a ReLU, and the convolution or the sum with one that it alone reads, by one call."""
    conv, others = _before(relu.args[0], graph)
    if conv is None:
        return
    gone = [relu, relu.args[0], conv]
    with graph.graph.inserting_before(relu):
        module = graph.graph.get_attr(conv.target)
        call = graph.graph.call_function(conv_add_relu if others else conv_relu, (conv.args[0], module, *others))
    relu.replace_all_uses_with(call)
    for node in dict.fromkeys(gone):
        graph.graph.erase_node(node)


def _before(node: fx.Node, graph: fx.GraphModule) -> tuple[fx.Node | None, tuple[fx.Node, ...]]:
    """The convolution whose result a ReLU reads, and what is added to it; None where there is no such one."""
    if _is_convolution(node, graph):
        return node, ()
    if _is(node, graph, SUMS, ()) and len(node.users) == 1 and all(isinstance(each, fx.Node) for each in node.args):
        left, right = node.args
        if _is_convolution(left, graph):
            return left, (right,)
        if _is_convolution(right, graph):
            return right, (left,)
    return None, ()


def _is_convolution(node: fx.Node, graph: fx.GraphModule) -> bool:
    """Whether a node is a plain convolution whose result one other node reads."""
    if not _is(node, graph, (), (nn.Conv2d,)) or len(node.users) != 1:
        return False
    conv = graph.get_submodule(node.target)
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)

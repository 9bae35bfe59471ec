"""A simulated GPU: on cuda:0, tensors have shapes, types, strides and gradients, but no values.

What a training step does to a GPU can be read off it on any machine: tensors of two devices in one operation raise, and
`Trace` counts kernels and bytes and lists whatever makes the host wait for the device. Not covered: what kernels
compute, NCCL, Inductor.

The tensors are PyTorch's fake tensors. Its autograd engine asks the driver for a context of every CUDA tensor that C++
sees, so here C++ sees meta tensors, which it leaves alone, and Python sees cuda:0.
"""

import copy
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch._dynamo  # noqa: F401 - before `_make_subclass` is replaced: it inspects the original
import torch._dynamo.polyfills.loader  # noqa: F401
import torch.cuda.amp.common as amp_common
import torch.nn.utils.clip_grad as clip_grad
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_leaves

from raykd.data.device import fetch
from raykd.methods.base import min_norm
from raykd.teachers import verified
from raykd.training import loop
from raykd.training.evaluation import evaluate
from raykd.training.update import meters, nonfinite

READERS = (evaluate, loop, meters, nonfinite, verified)  # modules that fetch numbers from the device, where they should
CUDA = torch.device("cuda", 0)
READS = ("aten._local_scalar_dense", "aten.item", "aten.equal", "aten.is_nonzero")
SIZES = (
    "aten.nonzero",
    "aten.masked_select",
    "aten.unique",
    "aten._unique",
)  # a result's size is known to the GPU alone
COPIES = ("aten._to_copy", "aten.copy_", "aten._copy_from", "prims.device_put")
FREE = ("aten.empty", "aten.new_empty", "aten.lift_fresh", "aten.detach", "aten.alias", "aten._unsafe_view")
ADD_RELU = torch.ops.aten.cudnn_convolution_add_relu.default
CONVOLUTIONS = (torch.ops.aten.cudnn_convolution_relu.default, ADD_RELU)
FUSED = ("aten._fused_sgd_", "aten._fused_adam")  # without an implementation for fake tensors


class CaptureError(AssertionError):
    """What is captured as a graph does what CUDA refuses in a capture."""


class DeviceMismatch(AssertionError):
    """A fused optimizer was given tensors that CUDA's kernel refuses."""


class Trace(TorchDispatchMode):
    """Inside: counts of kernels and of the bytes that they read and write, and everything that waits for the device.

    A graph that is replayed counts as one launch of all its kernels.
    """

    def __init__(self):
        super().__init__()
        self.kernels = self.launches = self.bytes = 0
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = _on_cuda(kwargs or {})
        name, given = str(func), _tensors((args, kwargs))
        if any(t.device.type == "cuda" for t in given):
            self._expect_no_reading(name, args)
        result = func(*args, **kwargs)
        made = _tensors(result)
        if name.startswith(COPIES) and {t.device.type for t in given + made} == {"cpu", "cuda"}:
            self._copy(name, args, kwargs, made)
        elif any(t.device.type == "cuda" for t in given + made) and not _is_free(func, name, given, made):
            self.kernels += 1
            self.launches += 1
            self.operations[name] += 1
            self.bytes += sum(t.numel() * t.element_size() for t in given + made)
        return result

    def replayed(self, captured: "Trace") -> None:
        self.kernels += captured.kernels
        self.launches += 1
        self.bytes += captured.bytes
        self.operations += captured.operations

    def _expect_no_reading(self, name: str, args: tuple) -> None:
        masks = args[1] if name.startswith(("aten.index.Tensor", "aten.index_put")) else ()
        if any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in masks):
            self._wait(f"{name} by a mask")
        if name.startswith((*READS, *SIZES)):
            self._wait(name)

    def _copy(self, name: str, args: tuple, kwargs: dict, made: list[Tensor]) -> None:
        """Only a non-blocking copy from or to pinned memory is asynchronous."""
        into = args[0] if name.startswith("aten.copy_") else made[0]
        other = args[1] if name.startswith("aten.copy_") else args[0]
        host = into if into.device.type == "cpu" else other
        asked = kwargs.get("non_blocking", len(args) > 2 and name.startswith("aten.copy_") and args[2])
        if not asked or not is_pinned(host):
            how = "pageable" if asked else "blocking"
            self._wait(f"{how} copy {other.device.type} to {into.device.type} of {tuple(into.shape)}")

    def _wait(self, what: str) -> None:
        self.waits[f"{what} at {_place()}"] += 1


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _is_free(func: Any, name: str, given: list[Tensor], made: list[Tensor]) -> bool:
    """Views and allocations launch nothing, nor does `to` without a change: only C++ sees meta here."""
    if name.startswith("aten._to_copy") and _like(given[0]) == _like(made[0]):
        return True
    aliases = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
    return aliases or name.startswith(FREE) or getattr(func, "is_view", False)


def _like(tensor: Tensor) -> tuple:
    return tensor.device, tensor.dtype, tensor.shape, tensor.stride()


def _on_cuda(kwargs: dict) -> dict:
    """Replace meta, by which C++ means the device of its inputs."""
    return kwargs | {"device": CUDA} if str(kwargs.get("device", "")).startswith("meta") else kwargs


def _place() -> str:
    import traceback

    frames = [f for f in traceback.extract_stack() if "/raykd/" in f.filename]
    return " < ".join(f"{f.filename.split('/raykd/')[-1]}:{f.lineno}" for f in frames[:-4:-1])


_pinned: "weakref.WeakSet" = weakref.WeakSet()


def _pin(tensor: Tensor) -> Tensor:
    _pinned.add(tensor.untyped_storage())
    tensor._pinned_storage = tensor.untyped_storage()  # keeps the storage's Python object alive with the tensor
    return tensor


def is_pinned(tensor: Tensor) -> bool:
    return tensor.untyped_storage() in _pinned


class _Event:
    """A CUDA event; nothing is ever pending."""

    def __init__(self, *args: Any, **options: Any):
        pass

    def record(self, stream: Any = None) -> None:
        pass

    def wait(self, stream: Any = None) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def query(self) -> bool:
        return True


class _Stream(_Event):
    """A CUDA stream, which runs everything at once."""

    def wait_event(self, event: _Event) -> None:
        pass

    def wait_stream(self, stream: "_Stream") -> None:
        pass

    def record_event(self, event: _Event | None = None) -> _Event:
        return event or _Event()


class _Graph:
    """A CUDA graph: the kernels that were launched while it was captured."""

    captured: Trace

    def replay(self) -> None:
        for mode in _get_current_dispatch_mode_stack():
            if isinstance(mode, Trace):
                mode.replayed(self.captured)


@contextmanager
def _capturing(graph: _Graph, capture_error_mode: str = "global") -> Iterator[None]:
    with Trace() as graph.captured:
        yield
    if graph.captured.waits:
        raise CaptureError(f"a captured pass waits for the device: {dict(graph.captured.waits)}")


@contextmanager
def simulated_gpu(backward: bool = True) -> Iterator[FakeTensorMode]:
    """Inside, device cuda:0 is there and every tensor is fake; modules move to it with `.to`.

    backward=False: C++ sees cuda:0 too, so autocast casts, but no backward pass can be run.
    """
    with ExitStack() as stack:
        min_norm._table.cache_clear()  # a tensor that is kept belongs to the mode in which it was made
        stack.callback(min_norm._table.cache_clear)
        if backward:
            stack.enter_context(mock.patch.object(torch.Tensor, "_make_subclass", _make_subclass))
        for target, name, value in _replacements():
            stack.enter_context(mock.patch.object(target, name, value, create=True))
        mode = stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(mock.patch.object(nn.Module, "to", lambda self, *a, **k: _moved(self, mode, *a, **k)))
        yield mode


_make = torch.Tensor._make_subclass


@staticmethod
def _make_subclass(cls, elem, requires_grad=False, *, dispatch_device=False, device_for_backend_keys=None, **rest):
    """A fake tensor; one on cuda is made without telling C++ so."""
    if device_for_backend_keys is not None and torch.device(device_for_backend_keys).type == "cuda":
        return _make(cls, elem, requires_grad)
    rest |= {"dispatch_device": dispatch_device, "device_for_backend_keys": device_for_backend_keys}
    return _make(cls, elem, requires_grad, **rest)


def _replacements() -> Iterator[tuple[Any, str, Any]]:
    dispatch = FakeTensorMode.dispatch

    def dispatched(self, func, types, args=(), kwargs=None):
        if str(func).startswith(FUSED):
            return expect_fusable(func, args, kwargs or {})
        if func in CONVOLUTIONS:
            return dispatch(self, torch.ops.aten.convolution.default, types, _plain(func, args), {})
        inside = self.in_kernel_invocation
        result = dispatch(self, func, types, args, kwargs if inside else _on_cuda(kwargs or {}))
        if func is torch.ops.aten.convolution_backward.default and result[1] is not None:
            # cuDNN's gradient lies as the weight does; that of fake tensors is always contiguous.
            return result[0], dispatch(self, torch.ops.aten.empty_like.default, types, (args[2],), {}), result[2]
        return result

    yield FakeTensorMode, "dispatch", dispatched
    yield FakeTensorMode, "__deepcopy__", lambda self, memo: self
    yield torch.Tensor, "pin_memory", lambda self, device=None: _pin(self.clone())
    yield torch.Tensor, "record_stream", lambda self, stream: None
    for name in ("empty", "empty_like"):
        yield torch, name, _with_pinning(getattr(torch, name))
    cuda = {"Event": _Event, "Stream": _Stream, "current_stream": lambda device=None: _Stream()}
    cuda |= {"CUDAGraph": _Graph, "graph": _capturing}
    cuda |= {"stream": _inside_stream, "synchronize": lambda device=None: None}
    for name, value in cuda.items():
        yield torch.cuda, name, value
    for module in (torch.utils._foreach_utils, sys.modules["torch.optim.optimizer"], clip_grad):
        yield module, "_group_tensors_by_device_and_dtype", _grouped
    yield clip_grad, "_has_foreach_support", lambda tensors, device: device.type == "cuda"
    yield amp_common, "amp_definitely_not_available", lambda: False
    yield torch.cuda, "is_bf16_supported", lambda *args, **options: True
    yield fetch, "fetch", _nothing
    for module in READERS:
        yield module, "fetch", _nothing


def _nothing(values: Tensor) -> Any:
    """Ones in place of numbers that a tensor does not have here."""
    return np.ones(tuple(values.shape)).tolist()


@contextmanager
def _inside_stream(stream: Any) -> Iterator[None]:
    yield


def _with_pinning(original: Any) -> Any:
    def make(*args: Any, pin_memory: bool = False, **options: Any) -> Tensor:
        made = original(*args, **options)
        return _pin(made) if pin_memory else made

    return make


def _grouped(lists: list, with_indices: bool = False) -> dict:
    """torch's own asks C++ for devices."""
    groups: dict = {}
    for place, row in enumerate(zip(*lists)):
        first = next(t for t in row if t is not None)
        columns, places = groups.setdefault((first.device, first.dtype), ([[] for _ in lists], []))
        for column, tensor in zip(columns, row):
            column.append(tensor)
        places.append(place)
    return groups


def _plain(func: Any, args: tuple) -> tuple:
    """The arguments of the convolution in one of cuDNN's fused ones, which has no implementation for fake tensors."""
    x, weight, *rest = args
    z = rest.pop(0) if func is ADD_RELU else None
    bias, *where = rest[1:] if func is ADD_RELU else rest
    for tensor in (weight, bias, z):
        if tensor is not None and (tensor.device, tensor.dtype) != (x.device, x.dtype):
            raise DeviceMismatch(f"{func}: {_seen(x)} beside {_seen(tensor)}")
    stride, padding, dilation, groups = where
    return x, weight, bias, stride, padding, dilation, False, [0, 0], groups


def expect_fusable(func: Any, args: tuple, kwargs: dict) -> None:
    """Raise DeviceMismatch for what CUDA's fused optimizers refuse or misread: devices, types, layouts."""
    lists = [a for a in args if isinstance(a, (list, tuple)) and a and isinstance(a[0], Tensor)]
    for first, *others in zip(*lists):
        for other in others:
            if other.ndim == 0 and first.ndim > 0:  # a counter of steps
                fits = other.device == first.device
            else:
                fits = (other.device, other.shape, other.dtype) == (first.device, first.shape, first.dtype)
                fits = fits and all(n == 1 or a == b for n, a, b in zip(first.shape, first.stride(), other.stride()))
            if not fits:
                raise DeviceMismatch(f"{func}: {_seen(first)} beside {_seen(other)}")
    for name in ("grad_scale", "found_inf"):
        flag = kwargs.get(name)
        if flag is not None and (flag.device.type, flag.dtype) != ("cuda", torch.float32):
            raise DeviceMismatch(f"{func}: {name} is {_seen(flag)}")


def _seen(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}, strides {tensor.stride()}, on {tensor.device}"


@torch.no_grad()
def _moved(module: nn.Module, mode: FakeTensorMode, *args: Any, **options: Any) -> nn.Module:
    """`Module.to`: parameters and buffers are replaced, as fake ones can't take the place of real ones; ties stay."""
    device, dtype, _, layout = torch._C._nn._parse_to(*args, **options)
    seen: dict[int, tuple[Tensor, Tensor]] = {}

    def moved(tensor: Tensor) -> Tensor:
        if id(tensor) not in seen:
            new = tensor.detach() if isinstance(tensor, FakeTensor) else mode.from_tensor(tensor.detach())
            new = new.to(device or new.device, dtype if new.is_floating_point() else None)
            if layout is torch.channels_last and new.ndim == 4:
                new = new.to(memory_format=layout)
            if isinstance(tensor, nn.Parameter):
                new = nn.Parameter(new, requires_grad=tensor.requires_grad)
            seen[id(tensor)] = (tensor, new)
        return seen[id(tensor)][1]

    for inner in module.modules():
        for table in (inner._parameters, inner._buffers):
            table.update({name: moved(tensor) for name, tensor in table.items() if tensor is not None})
    return module


def copied(value: Any) -> Any:
    """A deep copy on the host, as a checkpoint holds it."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu")
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, (list, tuple)) else copy.copy(value)

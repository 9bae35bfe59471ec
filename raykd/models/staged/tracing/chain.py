"""The chain of stages that a network of a library is, if its own forward pass runs them one after another.

It is found in forward passes: the modules that return the stages' maps, what runs between them, and whether running
these one after another computes the network's logits and features, in evaluation and in training.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from raykd.contract import Output
from raykd.models.staged.layers import flatten, one_pixel
from raykd.models.staged.modes import without_tf32
from raykd.models.staged.network import START, Staged
from raykd.models.staged.parts import Part, run_parts
from raykd.models.staged.reader import Reader
from raykd.models.staged.tracing.calls import Call, Calls, as_maps, equal, function_between, not_default

Sections = dict[str, tuple[Part, ...]]


@torch.no_grad()
def find_chain(network: Staged, *twins: Staged) -> None:
    """Set `network.sections` if the network is a chain of stages, and those of `twins`, other networks of its kind.

    A network that is not one stays as it is: one whose stages read several maps, or with a class token, with
    parameters that belong to no module of its chain, or with several heads.
    """
    if network.is_chain or network.reader is None or len(network.classifiers) != 1 or not network.stages:
        return
    model, size = _with_random_scales(network.model).eval(), network.native_size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(next(model.parameters()))
    with without_tf32():  # whose rounding would look like another function
        sections = _sections(model, network.reader, images, network.stages)
        if sections and _is_whole(model, sections) and _agrees(model, network.reader, images, sections):
            for each in (network, *twins):
                each.sections, each.tail = dict(sections), sections["pooled"] + sections["head"]


def _with_random_scales(model: nn.Module) -> nn.Module:
    """A copy with random scales and biases: scales of 0 or 1e-6 would hide what their layers do, positive maps a ReLU.

    Scales and biases have magnitudes from 0.5 to 1.5 and random signs; statistics, some of which are variances, have
    these magnitudes.
    """
    probe, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    for values, signed in (*((x, True) for x in probe.parameters()), *((x, False) for x in probe.buffers())):
        if values.is_floating_point() and values.squeeze().ndim <= 1:
            random = 0.5 + torch.rand(values.shape, generator=generator)
            values.data.copy_(random * torch.randn(values.shape, generator=generator).sign() if signed else random)
    return probe


def _sections(model: nn.Module, reader: Reader, images: Tensor, stages: Sequence[str]) -> Sections:
    """The chain by which the model, in evaluation mode, computes its logits; empty if it isn't one."""
    maps = {name: x.clone() for name, x in reader(model, images, stages).features.items()}
    ends, logits = _ends(model, images, maps)
    if len(ends) < len(maps):
        return {}
    calls = _calls(model, images, [*ends.values(), reader.classifiers[0]])
    sections, parts, x = Sections(), tuple[Part, ...](), images
    for call in calls:
        if (between := function_between(x, call.given)) is None:
            return {}
        if call.part == reader.classifiers[0]:
            convolves = call.given.shape[2:] == (1, 1)  # a 1×1 convolution; what is pooled is a vector all the same
            sections["pooled"] = parts + between + ((flatten,) if convolves else ())
            parts, between = (), (one_pixel,) if convolves else ()
        parts, x = (*parts, *between, call.part), call.output
        for stage in (name for name, end in ends.items() if end == call.part):
            if (to_map := function_between(x, maps[stage])) is None:
                return {}
            sections[stage], parts, x = parts + to_map, (), maps[stage]
    last = function_between(x, logits)
    if last is None or list(sections) != [*stages, "pooled"]:
        return {}
    return _with_stem(sections, stages[0]) | {"head": parts + last}


def _with_stem(sections: Sections, first: str) -> Sections:
    """The chain with a stem, the first module, if another one precedes the end of the first stage."""
    parts = sections[first]
    length = 1 if sum(isinstance(part, str) for part in parts) > 1 else 0
    return {START: parts[:length]} | sections | {first: parts[length:]}


def _ends(model: nn.Module, images: Tensor, maps: Mapping[str, Tensor]) -> tuple[dict[str, str], Tensor]:
    """For each stage the module that ends with its map, and the logits.

    It is the first module that returns the map, or the outermost of those that end with it and hold no other stage's.
    """
    returning: dict[str, list[str]] = {}

    def note(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        for stage, feature_map in maps.items():
            if any(equal(x, feature_map) for x in as_maps(output)):
                returning.setdefault(stage, []).append(name)

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                hooks.enter_context(module.register_forward_hook(partial(note, name)))
        logits = model(images)
    ends = {}
    for stage, names in returning.items():
        others = [name for other in returning if other != stage for name in returning[other]]
        around = [name for name in names if _holds(name, names[:1]) and not _holds(name, others)]
        ends[stage] = around[-1] if around else names[0]  # outer modules end after inner ones
    return ends, logits


def _holds(module: str, others: Sequence[str]) -> bool:
    """Whether one of the others is inside this module."""
    return any(name.startswith(f"{module}.") for name in others)


def _calls(model: nn.Module, images: Tensor, inner: Sequence[str]) -> Sequence[Call]:
    """The outermost modules, of those that hold none of the `inner` ones, in the order in which they run.

    Empty if one of them has several inputs or outputs.
    """
    calls = Calls()

    def begin(name: str, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        calls.begin(name, (*inputs, *not_default(module, keywords)))

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name and not _holds(name, inner):
                hooks.enter_context(module.register_forward_pre_hook(partial(begin, name), with_kwargs=True))
                hooks.enter_context(module.register_forward_hook(lambda module, inputs, output: calls.end(output)))
        model(images)
    return calls.calls if calls.complete else ()


def _is_whole(model: nn.Module, sections: Sections) -> bool:
    """Whether the chain's modules have all of the model's parameters."""
    modules = [model.get_submodule(part) for parts in sections.values() for part in parts if isinstance(part, str)]
    return {*model.parameters()} == {parameter for module in modules for parameter in module.parameters()}


def _agrees(model: nn.Module, reader: Reader, images: Tensor, sections: Sections) -> bool:
    """Whether the chain has the model's logits and features, in evaluation and in training with its random numbers."""
    wanted = [name for name in reader.features if name in sections]

    def chain() -> Output:
        x, outputs = images, {}
        for name, parts in sections.items():
            x = outputs[name] = run_parts(model, parts, x)
        return Output(x, outputs)

    for training in (False, True):
        model.train(training)
        logits = _seeded(lambda: model(images), images)
        read, run = (_seeded(each, images) for each in (lambda: reader(model, images, wanted), chain))
        same = all(equal(run.features[name], read.features[name]) for name in wanted)
        if not (same and equal(run.logits, logits)):
            return False
    return True


def _seeded(function: Callable[[], Any], images: Tensor) -> Any:
    """What a function returns after seeding random numbers, whose state is restored."""
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        torch.manual_seed(0)
        return function()

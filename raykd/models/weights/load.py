"""Loads weights from files into networks: the part of a file that fits the network, and what differs, in one line."""

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from raykd import UserError
from raykd.models.staged import Staged
from raykd.models.weights.files import content_of
from raykd.output import message_of
from raykd.storage.damage import DAMAGE

# If a file has several networks, those with the first names are preferred and those with the second ones come last.
PREFERRED = ("ema", "student")
LAST = ("teacher", "momentum", "target", "optimizer")
DEPTH = 4  # maximum nesting of dictionaries


class Candidate(NamedTuple):
    """A network's tensors in a file, with the keys of the nested dictionaries and the prefix of their names."""

    nest: tuple[str, ...]
    prefix: str
    state: dict[str, Tensor]

    def __str__(self) -> str:
        where = [f"{'/'.join(self.nest)!r}"] if self.nest else []
        return ", ".join(where + ([f"the keys after {self.prefix!r}"] if self.prefix else []))


def load_weights(network: Staged | nn.Module, path: str | os.PathLike, without_classifier: bool = False) -> str:
    """Load a file into a network, completely; only BatchNorm's batch counters may be missing, as in old files.

    without_classifier: don't load the last layer of a Staged network, even if the file has one.
    Returns which part of the file was loaded, if not all of it: "'state_dict_ema', the keys after 'module.'".
    Raises UserError, naming the file, if it can't be read or doesn't fit.
    """
    model = network.model if isinstance(network, Staged) else network
    own, heads = model.state_dict(), network.classifiers if isinstance(network, Staged) else ()
    excluded = heads if without_classifier else ()
    fresh = {key: own[key] for key in own if _belongs(key, excluded)}
    candidate = _best(path, {key: own[key] for key in own if key not in fresh})
    state = {key: tensor for key, tensor in candidate.state.items() if not _belongs(key, excluded)}
    if not without_classifier and isinstance(network, Staged) and heads:
        _expect_classes(state.get(f"{heads[0]}.weight"), network, path)
    problems, taken = _differences(state | fresh, own), str(candidate)
    if problems and isinstance(network, Staged) and network.name.startswith("timm:"):
        converted = {key: x for key, x in _converted_by_timm(model, state).items() if not _belongs(key, excluded)}
        if not _differences(converted | fresh, own):
            state, problems, taken = converted, [], ", ".join(filter(None, (taken, "converted by timm")))
    if problems:
        raise UserError(f"{path} does not fit {getattr(network, 'name', type(model).__name__)}: {'; '.join(problems)}")
    try:
        model.load_state_dict(own | state | fresh)
    except RuntimeError as error:  # tensors without values, of a model on the meta device
        raise UserError(f"{path} can't be loaded: {message_of(error)}") from error
    _expect_finite(model, path)
    return taken


def _converted_by_timm(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of a network's authors, or of another image size, under timm's keys and for the network's size."""
    from raykd.models.libraries.timm import converted  # imported already, as the network is timm's

    try:
        return converted(model, state)
    except DAMAGE:  # not a checkpoint of this family
        return state


def _expect_finite(model: nn.Module, path: str | os.PathLike) -> None:
    """Raise UserError for weights or BatchNorm statistics with NaN or infinity, as those of a run that diverged."""
    statistics = [(key, each) for key, each in model.named_buffers() if key.endswith(("running_mean", "running_var"))]
    wrong = [key for key, tensor in (*model.named_parameters(), *statistics) if not tensor.isfinite().all()]
    if wrong:
        raise UserError(f"{path} has NaN or infinity in {len(wrong)} tensor(s), such as {wrong[0]}: use other weights")


def _belongs(key: str, layers: Collection[str]) -> bool:
    return any(key.startswith(f"{layer}.") for layer in layers)


def _best(path: str | os.PathLike, own: Mapping[str, Tensor]) -> Candidate:
    """The network in the file that fits best; raises UserError if two fit equally well."""
    candidates = sorted(_networks(path, own), key=lambda each: _fit(each, own), reverse=True)
    if not candidates:
        raise UserError(f"{path} contains no network: no state_dict, and no dictionary of named tensors")
    best, second = candidates[0], candidates[1] if len(candidates) > 1 else None
    if second and _fit(second, own) == _fit(best, own) and not _missing(second.state, own):
        raise UserError(
            f"{path} contains several networks that fit ({best} and {second}): save the one to use in its own file"
        )
    return best


def _fit(candidate: Candidate, own: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Sort key: the number of tensors that fit, then how likely the names are those of the wanted network."""
    fitting = sum(key in candidate.state and candidate.state[key].shape == own[key].shape for key in own)
    names = " ".join((*candidate.nest, candidate.prefix)).lower()
    likely = sum(name in names for name in PREFERRED) - sum(name in names for name in LAST)
    return fitting, likely, -len(candidate.prefix)


def _networks(path: str | os.PathLike, own: Mapping[str, Tensor]) -> Iterator[Candidate]:
    for nest, tensors in _dictionaries(content_of(path)):
        for prefix in _prefixes(tensors, own):
            yield Candidate(
                nest, prefix, {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}
            )


def _dictionaries(content: Any, nest: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every dictionary in a file's content that holds tensors by name, with the keys that lead to it."""
    if not isinstance(content, Mapping) or len(nest) > DEPTH:
        return
    tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield nest, tensors
    for key, value in content.items():
        yield from _dictionaries(value, (*nest, str(key)))


def _prefixes(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Prefixes of the network's own keys in a dictionary: "module.", "backbone.", … or ""."""
    keys = [key for key in own if "." in key] or list(own)
    for sought in (keys[0], keys[-1]) if keys else ():
        prefixes = {key.removesuffix(sought) for key in tensors if key == sought or key.endswith(f".{sought}")}
        if prefixes:
            return sorted(prefixes)
    return [""]


def _expect_classes(kernel: Tensor | None, network: Staged, path: str | os.PathLike) -> None:
    if kernel is not None and kernel.shape[0] != network.num_classes:
        counts = f"{path} has {kernel.shape[0]} classes, but {network.name} has {network.num_classes} here"
        raise UserError(
            f"{counts}: to load all but the last layer of a student, append '#backbone' to the file name; for a "
            "teacher, set `classes`"
        )


def _differences(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} is {list(state[key].shape)} instead of {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    types = [
        f"{key} is {state[key].dtype} instead of {own[key].dtype}"
        for key in _missing({}, own)
        if key in state and _is_real(state[key]) != _is_real(own[key])
    ]
    kinds = {"missing": _missing(state, own), "unexpected": unexpected, "of another shape": shapes}
    kinds["of another type"] = types
    return [
        f"{len(keys)} {kind}: {', '.join(keys[:3])}{' …' if len(keys) > 3 else ''}"
        for kind, keys in kinds.items()
        if keys
    ]


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not tensor.is_sparse


def _missing(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    return [key for key in own if key not in state and not key.endswith("num_batches_tracked")]

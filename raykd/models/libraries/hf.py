"""Hugging Face's image classifiers: `hf:NAME`, a hub name, a folder, or a model type (`hf:vit`) for a fresh network.

Needs the package transformers. Keys are transformers' own.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raykd import UserError
from raykd.models.libraries.probe import last_layer_run, stage_ends
from raykd.models.staged import CAN_NOT_RUN
from raykd.models.staged.modes import evaluating
from raykd.models.staged.parts import Parts
from raykd.models.staged.reader import Maps, Reader, as_map
from raykd.output import message_of

try:
    import transformers
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError, StrictDataclassError
except ImportError:
    raise UserError("networks named hf:… need the package transformers: pip install 'raykd[hf]'") from None

# Attributes of configurations that say where a model comes from, how its code is run, or what the data say.
NO_OPTIONS = {"auto_map", "attn_implementation", "name_or_path", "dtype", "torch_dtype", "num_labels", "id2label"}
HUB_FILES = tuple(
    f"{stem}{index}" for stem in ("model.safetensors", "pytorch_model.bin") for index in ("", ".index.json")
)


def names() -> list[str]:
    """Model types with an image classifier; hub names are not listed."""
    mapping = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    return sorted(mapping)


def build(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """A fresh network; the options are fields of its configuration."""
    _expect_fields(name, options)
    config = configuration(name, {"num_labels": num_classes, "image_size": image_size} | dict(options))
    return plain(transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False))


def configuration(name: str, fields: Mapping[str, Any]) -> Any:
    """A model type's, or a folder's or the hub's own. Code that comes with a model is never run.

    Raises UserError for values that its fields can't have.
    """
    try:
        if name in names():
            return transformers.AutoConfig.for_model(name, **fields)
        return transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **fields)
    except StrictDataclassError as error:
        raise UserError(f"hf:{name} can't be built with {dict(fields)}: {message_of(error)}") from None


def _expect_fields(name: str, options: Mapping[str, Any]) -> None:
    """Raise UserError for an option that the network's configuration lacks: transformers would take any word.

    Others' runs name options too, and words such as trust_remote_code would run others' code.
    """
    config = configuration(name, {}) if options else None
    for option in options:
        if option in NO_OPTIONS or option.startswith("_") or not hasattr(config, option):
            raise UserError(f"hf:{name} has no option {option!r}: options are fields of its {type(config).__name__}")


def pretrained(name: str, num_classes: int, image_size: int, options: Mapping[str, Any]) -> nn.Module:
    """With the weights of a hub name or folder, and a fresh last layer for another number of classes.

    Raises UserError if other weights are missing.
    """
    _expect_fields(name, options)
    config = configuration(name, {"num_labels": num_classes} | dict(options))
    settings = {"ignore_mismatched_sizes": True, "output_loading_info": True, "trust_remote_code": False}
    model, loaded = transformers.AutoModelForImageClassification.from_pretrained(name, config=config, **settings)
    missing = sorted(loaded["missing_keys"])
    if missing and configuration(name, {}).num_labels == num_classes:
        raise UserError(f"hf:{name} has no weights for {', '.join(missing[:3])}: use weights that contain them")
    return plain(model)


def is_cached(name: str) -> bool:
    """Whether the weights are in a folder, or in the hub's cache on this machine."""
    try:
        return Path(name).is_dir() or any(isinstance(try_to_load_from_cache(name, file), str) for file in HUB_FILES)
    except HFValidationError:  # no name that the hub could have
        return False


def plain(model: nn.Module) -> nn.Module:
    """The same network with logits as its output."""
    model.register_forward_hook(_logits)
    return model


def _logits(model: nn.Module, inputs: tuple, output: Any) -> Tensor:
    return output.logits


def hidden_states(model: Any, images: Tensor, stages: Mapping[str, int]) -> tuple[Tensor, Maps]:
    """Logits, and as maps the hidden states at the stages' positions."""
    output = model.forward(images, output_hidden_states=True)  # not __call__, whose hook returns logits only
    states = states_of(output)
    return output.logits, {stage: as_map(states[position]) for stage, position in stages.items()}


def states_of(output: Any) -> tuple[Tensor, ...]:
    """Hidden states, as maps [B, D, h, w] if the model returns them besides tokens."""
    return getattr(output, "reshaped_hidden_states", None) or getattr(output, "hidden_states", None) or ()


def views(model: nn.Module, num_classes: int, image_size: int) -> Iterator[Parts]:
    """Views of a network, the most capable first."""
    classifiers = last_layer_run(model, num_classes, image_size)
    with contextlib.suppress(*CAN_NOT_RUN):
        yield Parts(model, reader=Reader(classifiers, _positions(model, image_size), hidden_states))
    yield Parts(model, reader=Reader(classifiers))


@torch.no_grad()
def _positions(model: nn.Module, image_size: int) -> dict[str, int]:
    """The position in the hidden states at which each stage ends; the first state is the embedding."""
    with evaluating(model):
        output = model.forward(torch.zeros(1, 3, image_size, image_size), output_hidden_states=True)
    sides = [as_map(state).shape[2] for state in states_of(output)[1:]]
    return {f"stage{i + 1}": end + 1 for i, end in enumerate(stage_ends([1 / side for side in sides]))}

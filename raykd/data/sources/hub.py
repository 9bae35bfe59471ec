"""Reads data sets of Hugging Face's `datasets`, from a folder, its cache or the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from raykd import UserError
from raykd.data.sources.files import ALLOW
from raykd.output import message_of


def expect_sound(name: str, *splits: Any) -> None:
    """Raise UserError if an Arrow file is damaged; Arrow itself does not check its offsets."""
    for split in splits:
        try:
            if split is not None:
                split.data.validate(full=True)
        except ValueError as error:
            raise UserError(f"{name} is damaged ({message_of(error)}): restore it, or download it again") from None


def stored(value: Any) -> Any:
    """A picture of a Hugging Face data set: bytes or a path in a dict, as Image columns store it."""
    if isinstance(value, dict) and (value.get("bytes") or value.get("path")):
        return value["bytes"] or Path(value["path"])
    if value is None or isinstance(value, (dict, str, int, float)):
        raise ValueError("there is no image" if value is None else f"not an image but {str(value)[:40]!r}")
    return np.asarray(value) if isinstance(value, list) else value


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """Context that keeps Hugging Face's libraries off the network: they read HF_HUB_OFFLINE only at import."""
    import datasets
    import huggingface_hub.constants

    modules = (huggingface_hub.constants, datasets.config)
    before = [module.HF_HUB_OFFLINE for module in modules]
    for module, value in zip(modules, before, strict=True):
        module.HF_HUB_OFFLINE = value or offline
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value


def open_splits(name: str, train: str, cache: Path, download: bool) -> dict[str, Any]:
    """A data set's splits by name; a saved data set without splits is the one called `train`.

    Raises UserError if it is not in the folder `name`, nor in the cache or hub.
    """
    try:
        import datasets
    except ImportError:
        raise UserError("the package datasets of Hugging Face is missing: pip install datasets") from None
    opened = _open(name, cache, download)
    return {train: opened} if isinstance(opened, datasets.Dataset) else opened


def _open(name: str, cache: Path, download: bool) -> Any:
    import datasets

    if Path(name).expanduser().is_dir():
        try:
            return datasets.load_from_disk(str(Path(name).expanduser()))
        except Exception as error:  # noqa: BLE001  of Arrow, of JSON, or their own: all say that the folder is damaged
            reason = message_of(error)
            raise UserError(f"{name} was not written by Dataset.save_to_disk, or is damaged: {reason}") from None
    config = datasets.DownloadConfig(local_files_only=not download)
    try:
        with _offline(not download):
            return datasets.load_dataset(name, cache_dir=str(cache), download_config=config)
    except (OSError, ValueError) as error:
        advice = "check its name" if download else f"save it to a folder, or {ALLOW}"
        raise UserError(f"{name} is not in {cache} ({message_of(error)}): {advice}") from None

"""Networks, all with the interface of `Staged`: logits, features by name, and access to the stages of chains.

Called by methods, teachers, training, recipe and deploy; never imports data, methods or training. Recipes import its
settings, so that torch is imported when one of its functions is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raykd.models.creation import create as create
    from raykd.models.creation import create_network as create_network
    from raykd.models.creation import names as names
    from raykd.models.weights.library import published as published

HOMES = {"create": "creation", "create_network": "creation", "names": "creation", "published": "weights.library"}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'raykd.models' has no attribute {name!r}")
    function = globals()[name] = getattr(import_module(f"raykd.models.{HOMES[name]}"), name)
    return function

"""The user modules that networks may be built from: those of a recipe that this process runs.

A run directory names networks too; without this, one from somewhere else could have any module imported and called.
Importing this module costs nothing: no torch.
"""

import importlib
from collections.abc import Iterable
from typing import Any

from raykd import UserError

_allowed: set[str] = set()


def allow(modules: Iterable[str]) -> None:
    """Let networks of these modules be built in this process."""
    _allowed.update(modules)


def allowed() -> frozenset[str]:
    """The modules that networks may be built from."""
    return frozenset(_allowed)


def callable_of(name: str) -> Any:
    """The object MODULE:CALLABLE; raises UserError if it does not exist or its module is not allowed."""
    module, _, path = name.partition(":")
    if module not in _allowed:
        raise UserError(
            f"unknown library {module!r} in {name!r}; known are torchvision, timm, hf and modules that the recipe "
            "imports. Import your module in the recipe; for a run that you trust, use --trust-source"
        )
    try:
        build = getattr(importlib.import_module(module), path, None)
    except (Exception, SystemExit) as error:  # the user's code: any error is shown to the user as one line
        raise UserError(f"network {name!r}: {module} fails to import: {type(error).__name__}: {error}") from error
    home = getattr(build, "__module__", module)
    if not callable(build) or home != module:
        elsewhere = f" itself (it is from {home}): write a function that calls it" if callable(build) else ""
        raise UserError(f"network {name!r}: {module} defines no callable {path!r}{elsewhere}")
    return build

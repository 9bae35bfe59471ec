"""raykd: knowledge distillation of image classifiers on Ray.

`import raykd` offers the classes that recipes consist of, and functions that train, search, compare and deploy. Each
name is imported when it is first used.
"""

import ast
import os
from importlib import import_module
from pathlib import Path
from typing import Any

# Makes torch allocate tensors in huge pages: with pages of 4 KiB, page faults take longer than filling a batch. torch
# reads this at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"


class UserError(Exception):
    """Invalid input, in one line that says what is wrong and how to fix it; the command line exits with status 2."""


# Public name → its module, as `__init__.pyi` imports them for type checkers.
STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_bytes())
HOMES = {alias.name: str(node.module) for node in STUB.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'raykd' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})

"""Networks from elsewhere: timm, torchvision, transformers (`hf`), and the user's own modules.

Each module, called as its library is in the names of networks, builds plain networks and yields views of them: as a
chain of stages if it knows the family, else as a whole whose features the library returns. Called by models.creation,
models.weights and families.imagenet; of the other packages it imports only contract.
"""

from importlib import import_module
from types import ModuleType


def module_of(library: str) -> ModuleType:
    """The module of one of `raykd.models.config.LIBRARIES`, imported on demand: timm alone takes a second or two."""
    return import_module(f"raykd.models.libraries.{library}")

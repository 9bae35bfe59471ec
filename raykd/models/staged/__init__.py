"""The interface of all networks, `Staged`, and what describes a network to it: parts of a chain, or a reader.

Called by all that uses networks: methods, teachers, training, deploy. It never imports a network's definition.
"""

from raykd.models.staged.network import CAN_NOT_RUN, Staged, parameters
from raykd.models.staged.parts import ModuleCall, Part, run_parts

__all__ = ["CAN_NOT_RUN", "ModuleCall", "Part", "Staged", "parameters", "run_parts"]

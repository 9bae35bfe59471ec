"""The interface of all networks, `Staged`, and how a network is described to it: by parts of a chain, or by a reader.

Called by everything that uses networks: methods, teachers, training, deploy. It never imports a network's definition.
"""

from raykd.models.staged.network import CAN_NOT_RUN, Staged, parameters
from raykd.models.staged.parts import ModuleCall, Part, Parts, run_parts
from raykd.models.staged.tracing.chain import find_chain
from raykd.models.staged.tracing.tail import find_tail

__all__ = ["CAN_NOT_RUN", "ModuleCall", "Part", "Parts", "Staged", "find_chain", "find_tail", "parameters", "run_parts"]

"""raykd: knowledge distillation of image classifiers on Ray."""

import os

# Batches and activations come and go by the megabyte; in pages of 4 KiB, Linux takes longer to hand them out than the
# loader to fill them. torch reads this at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"


class UserError(Exception):
    """The user's input is wrong: one line that says what and what to do; the command line ends with status 2."""

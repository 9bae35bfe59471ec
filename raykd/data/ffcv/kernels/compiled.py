"""How the kernels are compiled: strictly, and again when one of their files has changed.

numba's cache watches the file of a function, not the files of those that it calls. So only the kernels that are called
from Python are cached, with all that they call; they close over SOURCES, as the cache's key contains what a function
closes over.
"""

from hashlib import sha256
from pathlib import Path

STRICT = {"nogil": True, "error_model": "numpy"}
SOURCES = sha256(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()
"""A hash of the files of this folder."""

"""In a process of its own: the setting is the process's, and holds until it ends."""

import subprocess
import sys

FAULTS = """
import resource, sys
import numpy as np
from raykd.train import process
if sys.argv[1] == "keep":
    process.keep_freed_memory()
np.ones(48 << 20, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(48 << 20, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_memory_that_was_freed_is_used_again_without_page_faults():
    assert page_faults("keep") < 20
    assert page_faults("leave") > 10 * 20  # numpy asks for huge pages: few faults, but for every array anew

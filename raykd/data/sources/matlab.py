"""Reads the lists of Stanford Dogs in a separate process, as SciPy's reader of .mat files may crash on damaged ones."""

import json
import subprocess
import sys
from pathlib import Path

from raykd import UserError

READ = """
import json, sys
from scipy.io import loadmat
table = loadmat(sys.argv[1])
names = [str(row[0].item()) for row in table["file_list"]]
print(json.dumps([names, [int(row[0]) for row in table["labels"]]]))
"""


def read_list(path: Path) -> tuple[list[str], list[int]]:
    """Names of the images and their labels, from 1; raises UserError if the file is damaged."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{path} can't be read, it may be damaged: restore the file")
    names, labels = json.loads(done.stdout)
    if len(names) != len(labels):
        raise UserError(f"{path} has {len(names)} file names but {len(labels)} labels: restore the file")
    return names, labels

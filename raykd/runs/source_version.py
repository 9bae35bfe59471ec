"""The version of a run's recipe source."""

import subprocess
from pathlib import Path

from raykd.recipe.files.sources import is_installed


def git_commit(folder: Path) -> str:
    """The commit of the recipe's checkout, with "+" if files are modified; empty if it is not in a checkout.

    An installed recipe is in none, even if its environment is inside the checkout of another project.
    """
    if is_installed(folder):
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""

"""The version of the recipe's source that a run was made from."""

import subprocess
from pathlib import Path

from raykd.recipe.sources import is_installed


def git_commit(folder: Path) -> str:
    """The commit of the recipe's checkout, with "+" where files differ from it; empty where it is in none.

    An installed recipe is in none, though its environment may lie in the checkout of some other project.
    """
    if is_installed(folder):
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""

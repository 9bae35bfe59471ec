"""raykd data clean: lists the caches of teachers' outputs below a data root, and removes the oldest."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from rich.table import Table
from tyro import conf

from raykd import UserError
from raykd.data.config import Data
from raykd.fields import NonNegative
from raykd.recipe.command_line import parse
from raykd.teachers.cache import folders
from raykd.teachers.cache.folders import CacheFolder
from raykd.terminal import Terminal, agreed


@dataclass(frozen=True)
class Options:
    root: str = Data.root
    """Folder of the data, as in the recipe's data.root."""
    keep_gb: NonNegative | None = None
    """Remove the least recently used caches until at most this many gigabytes are left; 0: remove all; default: only
    list the caches."""
    yes: Annotated[bool, conf.FlagCreatePairsOff] = False
    """Remove without asking."""


def run(arguments: Sequence[str]) -> int:
    """List the caches, oldest first, and remove those beyond `--keep-gb`; returns the exit status."""
    description = "List the caches of teacher outputs, and remove the least recently used."
    chosen = parse(Options, Options(), arguments, "raykd data clean", description)
    console, root = Terminal(), folders.root_of(chosen.root)
    caches = folders.oldest_first(root)
    going = [] if chosen.keep_gb is None else to_remove(caches, chosen.keep_gb * 1e9)
    if not caches:
        console.print(f"no caches in {root}")
        return 0
    console.print(table(caches, going))
    total, freed = (sum(cache.bytes for cache in some) for some in (caches, going))
    console.print(f"{len(caches)} in {root}, {total / 1e9:.2f} GB; {freed / 1e9:.2f} GB would be freed")
    if going and not (chosen.yes or agreed(f"Remove {len(going)}?")):
        raise UserError("nothing was removed; --yes removes without asking")
    for cache in going:
        if not folders.remove(cache.path):
            console.print(f"{cache.path.name} was not removed: a run is using it")
    return 0


def to_remove(caches: Sequence[CacheFolder], keep: float) -> list[CacheFolder]:
    """The oldest caches, as many as must be removed to leave at most `keep` bytes."""
    left, going = sum(cache.bytes for cache in caches), []
    for cache in caches:
        if left <= keep and not (keep == 0 and not cache.bytes):
            break
        going.append(cache)
        left -= cache.bytes
    return going


def table(caches: Sequence[CacheFolder], going: Sequence[CacheFolder]) -> Table:
    """One line for each cache."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("last used", "GB", "teacher", "what", "format", "data", "seed", "removed"):
        shown.add_column(name, justify="right" if name in ("GB", "seed") else "left", overflow="fold")
    for cache in caches:
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(cache.used))
        about = cache.about or {"teacher": cache.path.name, "what": "of an earlier version"}
        cells = [str(about[name]) if name in about else "" for name in ("teacher", "what", "kept", "data", "seed")]
        shown.add_row(day, f"{cache.bytes / 1e9:.3f}", *cells, "yes" if cache in going else "")
    return shown

"""The working directory of a Ray job: which files are sent, and their copy in an empty folder."""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import raykd
from raykd import UserError
from raykd.recipe.files import shipped
from raykd.recipe.files.load import Loaded
from raykd.recipe.files.sources import source_bytes

MOST = 100 * 2**20  # maximum bytes of a working directory; Ray itself fails at 512 MiB, after having read all of it
NEVER = ("__pycache__", "node_modules", "venv", "wandb")


def root_of(loaded: Loaded) -> Path | None:
    """The folder that is packed: the current one, or the recipe's own if it lies outside of it.

    None: the recipe ships with raykd, which is always sent.
    """
    current = Path.cwd().resolve()
    if loaded.path.is_relative_to(current):
        return current
    return None if shipped.module_of(loaded.path) else loaded.path.parent


def files(root: Path) -> list[Path]:
    """Relative paths of the files to send: without hidden and git-ignored ones, runs and virtual environments.

    Submodules and linked folders follow their own rules. Raises UserError if git fails to list them.
    """
    return sorted(path for path in _listed(root, {root.resolve()}) if _needed(path) and _is_utf8(path))


def _listed(root: Path, seen: set[Path]) -> Iterator[Path]:
    """Paths of the files below a folder. seen: folders that are listed already, to end a loop of links."""
    for path in _of_git(root) if _is_checkout(root) else _walk(root):
        target = root / path
        if target.is_file():
            yield path
        elif target.is_dir() and _needed(path) and target.resolve() not in seen:  # a submodule, or a linked folder
            yield from (path / below for below in _listed(target, seen | {target.resolve()}))


def _is_checkout(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root.resolve(), *root.resolve().parents))


def _of_git(root: Path) -> list[Path]:
    """Raises UserError if git fails: without its list, ignored files would be sent."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True)
    except OSError as error:
        raise UserError(f"{root} is a git checkout, and git can't be run ({error.strerror}): install it") from None
    if listed.returncode:
        errors = listed.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise UserError(
            f"git does not list {root} ({errors[0]}): change its owner, or run "
            f"git config --global --add safe.directory {root}"
        )
    return sorted({Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name})


def _walk(root: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(root):
        below_root = Path(folder).relative_to(root)
        links = [name for name in below if (root / below_root / name).is_symlink()]
        below[:] = [name for name in below if _needed(below_root / name)]
        yield from (below_root / name for name in (*names, *links))


def _needed(path: Path) -> bool:
    hidden = any(part.startswith(".") or part in NEVER for part in path.parts)
    return not hidden and path.parts[0] != "runs"


def _is_utf8(path: Path) -> bool:
    """Whether a name can be packed."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def pack(root: Path | None, folder: Path, more: Mapping[str, str] = {}) -> int:  # noqa: B006  never changed
    """Copy the files to send of root, and raykd if root lacks it, into an empty folder; returns the bytes.

    root: None for raykd alone. more: text of further files, by path.

    Raises UserError naming the largest entries if the total exceeds MOST.
    """
    if root in (Path("/"), Path.home()):
        raise UserError(f"{root} would be sent to the cluster as a whole: submit from the folder of your project")
    chosen = {path: root / path for path in files(root)} if root is not None else {}
    if root is None or not (root / "raykd" / "__init__.py").is_file():
        chosen |= _raykd()
    sizes = {path: source.stat().st_size for path, source in chosen.items()}
    if sum(sizes.values()) > MOST:
        raise UserError(_too_large(root, sizes))
    for path, source in chosen.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / path)
    for name, text in more.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(source_bytes(text))
    return sum(sizes.values()) + sum(map(len, more.values()))


def _raykd() -> dict[Path, Path]:
    """raykd's own files: destination and source path of each; recipes go inside the package, as in a wheel."""
    package, recipes = Path(raykd.__file__).parent, shipped.folder()
    chosen = {"raykd" / path.relative_to(package): path for path in package.rglob("*")}
    chosen = {to: path for to, path in chosen.items() if to.parts[1] != "recipes"}
    chosen |= {"raykd/recipes" / path.relative_to(recipes): path for path in recipes.rglob("*.py")}
    return {to: path for to, path in chosen.items() if path.is_file() and _needed(to)}


def _too_large(root: Path | None, sizes: dict[Path, int]) -> str:
    tops: Counter[str] = Counter()
    for path, size in sizes.items():
        tops[path.parts[0]] += size
    largest = ", ".join(f"{name} {in_words(size)}" for name, size in tops.most_common(3))
    return (
        f"{root} is too large to send: {in_words(sum(sizes.values()))}, at most {in_words(MOST)} (largest: {largest}). "
        "List data and runs in .gitignore, or submit from a smaller folder"
    )


def in_words(size: float) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"

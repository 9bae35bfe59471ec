"""A local copy of a run directory on any storage, for W&B and reports, which need local files."""

import shutil
import weakref
from collections.abc import Callable

from raykd import UserError
from raykd.storage.atomic import scratch
from raykd.storage.folder import Folder

STUDENT = "student.safetensors"  # the deployed network


class LocalCopy:
    """`path` is the run's own folder if that is local, else a temporary folder with copies."""

    def __init__(self, run: Folder):
        self.run = run
        self.path = run.local or scratch()
        if run.local is None:
            weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        self._known: dict[str, tuple[int, int]] = {}

    def download(self, selects: Callable[[str], bool]) -> None:
        """Copy files from the storage, selected by their path below the run."""
        if self.run.local is not None:
            return
        for name in filter(selects, self.run.files()):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(self.run.read(name))
            self._known[name] = self._stamp(name)

    def upload(self, selects: Callable[[str], bool]) -> None:
        """Copy the selected files that have changed in the copy to the storage."""
        if self.run.local is not None:
            return
        files = (str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())
        for name in filter(selects, files):
            stamp = self._stamp(name)
            if self._known.get(name) != stamp:
                self.run.write(name, (self.path / name).read_bytes())
                self._known[name] = stamp

    def _stamp(self, name: str) -> tuple[int, int]:
        about = (self.path / name).stat()
        return about.st_size, about.st_mtime_ns


def of_tracking(name: str) -> bool:
    """Whether a file is needed to resume or upload a W&B run: its identity, and what it has logged."""
    return name.endswith(("wandb.json", "wandb/history.jsonl"))


def of_results(name: str) -> bool:
    """Whether a report or W&B shows a file's content."""
    apart = any(part in name for part in ("checkpoints/", "wandb/", "source/", "wandb.json"))
    return name.endswith((".json", ".jsonl", ".csv")) and not apart


def of_student(name: str) -> bool:
    """Whether a file is the deployed network."""
    return name.endswith(STUDENT)


def local_copy(location: str, selects: Callable[[str], bool]) -> LocalCopy:
    """The selected files of a run directory, or of a folder of them; raises UserError if a URI has none."""
    copy = LocalCopy(Folder(location))
    copy.download(selects)
    if copy.run.local is None and not any(copy.path.iterdir()):
        raise UserError(f"no run in {location}: give a run directory, or a folder of them")
    return copy

"""A worker's access to its run's directory: whether it is visible, who may write, and where training continues."""

import socket
from collections.abc import Callable
from typing import Any

from raykd import UserError
from raykd.contract import Placement
from raykd.data.config import Prepared
from raykd.launch.run_state.client import Client
from raykd.runs.attempts import claim, expect_there
from raykd.runs.checkpoints.checkpoint import resume
from raykd.runs.checkpoints.stamps import Stamp
from raykd.runs.data import expect_data
from raykd.storage.folder import Folder
from raykd.storage.retry import patiently
from raykd.training.update.state import State


class RunFiles:
    """The files of a run that a worker reads and writes before the first step; failing storage is waited for."""

    def __init__(self, folder: Folder, placement: Placement, notify: Callable[[str], None]):
        """notify: shows the user a line."""
        self.folder, self._placement, self._notify = folder, placement, notify

    def expect_visible(self, client: Client) -> None:
        """Raise UserError if this node can't see the run's directory, which the driver has written.

        A worker that replaces an earlier one waits for it instead: the storage was available before and may come back.
        """
        if client.takes_over():
            patiently(lambda: expect_there(self.folder), "finding the run's directory", client.copying)
        elif not self.folder.exists("recipe.json"):
            raise UserError(
                f"storage: node {socket.gethostname()} can't see {self.folder.location}, which the driver has written; "
                "with several nodes give a --storage that all share, such as NFS, s3:// or gs://"
            )

    def claim(self, prepared: Prepared) -> str:
        """Record that the workers start; returns the attempt's token. Raises UserError if the data have changed."""

        def opened() -> str:
            token = claim(self.folder, self._placement.world)
            expect_data(self.folder, prepared)
            return token

        return patiently(opened, "opening the run", self._notify)

    def restore(self, state: State) -> Stamp | None:
        """Restore the newest readable checkpoint, the same one on all workers; None if there is none."""

        def read() -> Any:
            if self._placement.rank == 0:  # rank 0 reads for all; unavailable storage looks like no checkpoint
                expect_there(self.folder)
            return resume(self.folder, self._notify, self._placement.device)

        restored = patiently(read, "reading the checkpoint", self._notify)
        if restored is None:
            return None
        snapshot, stamp = restored
        state.restore(snapshot)
        self._notify(f"continues from step {stamp.step:,} (epoch {stamp.epoch:.1f})")
        return stamp

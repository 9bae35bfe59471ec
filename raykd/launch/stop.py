"""Stopping in order: a checkpoint first."""


class StopRequested(Exception):
    """The run was asked to stop and has saved a checkpoint at `step`."""

    def __init__(self, step: int):
        super().__init__(f"stopped at step {step}")
        self.step = step

"""When a run whose workers were lost is stopped."""

from dataclasses import dataclass


@dataclass
class LossPolicy:
    """Counts losses since the newest checkpoint, so a run that makes progress may lose workers any number of times."""

    announced: bool = False  # a worker announced its preemption: the loss that follows is not counted
    lost: bool = False  # workers have been lost at least once
    _losses: int = 0
    _saved: int = -1

    def reason_to_stop(self, line: str, *, excused: bool, limit: int, saved: int) -> str:
        """Count a loss of workers; returns why the run must stop, or "".

        limit: allowed losses without a new checkpoint between them; -1: any number. saved: step of the newest one.
        """
        self.lost = True
        if saved > self._saved:
            self._losses = 0
        self._losses += not (excused or self.announced)
        self._saved, self.announced = saved, False
        if limit < 0 or self._losses <= limit:
            return ""
        since = f"since the checkpoint of step {saved}" if saved >= 0 else "without a checkpoint between"
        return f"{line} (given up: {self._losses} failure(s) {since}, max_failures is {limit})"
